"""Pipelines are found on this machine with all their parts, and what is missing is fetched once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_hosts import HubServer, cached, use_hub
from tests.fakes.pipelines import (
    COMMUNITY_CONFIG,
    EMPTY,
    OLDER_CONFIG,
    SEGMENTATION,
    WESPEAKER,
    written,
)
from worker.speech.fetch import hub
from worker.speech.speakers import folders
from worker.speech.speakers.description import BrokenPipeline

NAME = "owner/pipeline"
COMMUNITY = {"config.yaml": COMMUNITY_CONFIG.encode(), **EMPTY}
OLDER = OLDER_CONFIG.format(segmentation=SEGMENTATION, embedding=WESPEAKER).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    others = {"README.md": b"not wanted", "diarization.gif": b"neither"}
    with HubServer(COMMUNITY | others) as running:
        use_hub(running.url, monkeypatch)
        yield running


def test_a_pipeline_is_fetched_whole_once_and_found_without_a_question(
    server: HubServer, tmp_path: Path
) -> None:
    assert folders.find(NAME, [tmp_path]) is None
    folder = folders.fetch(NAME, [tmp_path])
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == set(COMMUNITY)
    asked = len(server.requests)
    assert folders.find(NAME, [tmp_path / "elsewhere", tmp_path]) == folder
    assert folders.missing(folder, [tmp_path]) == []
    assert len(server.requests) == asked


@pytest.mark.parametrize("name", COMMUNITY)
def test_what_a_download_left_that_broke_off_is_not_found_but_gone_on_with(
    server: HubServer, tmp_path: Path, name: str
) -> None:
    left = cached(tmp_path, NAME, COMMUNITY)
    (left / name).resolve().unlink()
    assert folders.find(NAME, [tmp_path]) is None
    assert folders.fetch(NAME, [tmp_path]) == left
    assert folders.find(NAME, [tmp_path]) == left
    fetched = [
        path for method, path, _ in server.requests if method == "GET" and "/api/" not in path
    ]
    assert [path.partition("/resolve/")[2].partition("/")[2] for path in fetched] == [name]


def test_parts_that_are_named_as_on_the_hub_are_fetched_with_it(
    server: HubServer, tmp_path: Path
) -> None:
    server.files = {"config.yaml": OLDER, "pytorch_model.bin": b"weights"}
    begun: list[str] = []
    folder = folders.fetch(NAME, [tmp_path], lambda download: begun.append(download.repository))
    assert begun == [NAME, SEGMENTATION, WESPEAKER]
    assert folders.find(NAME, [tmp_path]) == folder
    files = folders.files_of(folder, folders.describe(folder), [tmp_path])
    assert {name: len(paths) for name, paths in files.items()} == {
        "segmentation": 1,
        "embedding": 1,
    }
    assert all(path.read_bytes() == b"weights" for paths in files.values() for path in paths)


def test_a_repository_that_is_no_pipeline_or_has_no_such_part_is_told(
    server: HubServer, tmp_path: Path
) -> None:
    server.files = {"model.bin": b"weights"}
    with pytest.raises(hub.Unsuitable, match=r"owner/pipeline on .* has no such files"):
        folders.fetch(NAME, [tmp_path])
    server.files = {"config.yaml": OLDER, "speaker-embedding.onnx": b"weights"}
    with pytest.raises(hub.Unsuitable, match=r"pyannote/segmentation-3.0 on .* has no such files"):
        folders.fetch(NAME, [tmp_path])


def test_a_hub_s_conditions_are_told_apart_from_what_it_does_not_have(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated = True
    with pytest.raises(hub.Gated, match="accepted its conditions, and HF_TOKEN is not set"):
        folders.fetch(NAME, [tmp_path])
    monkeypatch.setenv("HF_TOKEN", "hf_anything")
    with pytest.raises(hub.Gated, match="HF_TOKEN is of no account that did"):
        folders.fetch(NAME, [tmp_path])


def test_how_much_would_be_fetched_is_known_without_fetching(
    server: HubServer, tmp_path: Path
) -> None:
    assert folders.size(NAME, 5.0) == sum(map(len, COMMUNITY.values()))
    assert not any(method == "GET" and "/resolve/" in path for method, path, _ in server.requests)


def test_a_path_goes_before_a_name_of_the_hub(tmp_path: Path) -> None:
    folder = written(tmp_path, {"config.yaml": OLDER})
    assert [part.place for part in folders.missing(folder, [])] == [SEGMENTATION, WESPEAKER]
    written(folder / SEGMENTATION, {"pytorch_model.bin": b"weights"})
    assert [part.place for part in folders.missing(folder, [])] == [WESPEAKER]
    written(folder, {"config.yaml": OLDER.replace(WESPEAKER.encode(), b"embedding")})
    with pytest.raises(BrokenPipeline, match=r"embedding/pytorch_model.bin is missing"):
        folders.missing(folder, [])
