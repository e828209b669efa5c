"""Repositories are found without a question, fetched with few, and refused with a clause."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest
from huggingface_hub.utils.tqdm import enable_progress_bars
from structlog.testing import capture_logs

from tests.fakes.model_hosts import (
    REFUSED,
    UNRESOLVED,
    BlackHole,
    HttpServer,
    HubServer,
    cached,
    etag_of,
    public_folder,
    read_only,
    use_caches,
    use_hub,
)
from worker.speech.fetch import hosts, hub
from worker.speech.fetch.hosts import NotFetched

FILES = {"config.json": b"{}", "weights.bin": b"weights" * 20_000, "other.msgpack": b"not wanted"}
NAME = "owner/name"


def complete(names: Collection[str]) -> bool:
    return {"config.json", "weights.bin"} <= set(names)


def choose(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "other.msgpack"]


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_caches(tmp_path, monkeypatch)
    monkeypatch.setattr(hosts, "_hosts", {})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(FILES) as running:
        use_hub(running.url, monkeypatch)
        yield running


def test_a_repository_is_fetched_once_and_then_found_without_a_question(
    server: HubServer, tmp_path: Path
) -> None:
    assert hub.find(NAME, [tmp_path], complete) is None
    assert server.requests == []
    fetched = hub.fetch(NAME, [tmp_path], choose)
    assert sorted(path.name for path in fetched.iterdir()) == ["config.json", "weights.bin"]
    assert (fetched / "weights.bin").read_bytes() == FILES["weights.bin"]
    asked = len(server.requests)
    assert server.requests[0] == ("HEAD", "/owner/name/resolve/main/config.json", "")
    assert hub.find(NAME, [tmp_path / "elsewhere", tmp_path], complete) == fetched
    assert len(server.requests) == asked


def test_no_bars_are_drawn_whoever_looks_and_the_log_says_what_is_fetched(
    server: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    enable_progress_bars()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with capture_logs() as lines:
        hub.fetch(NAME, [tmp_path], choose)
    assert capfd.readouterr() == ("", "")
    (line,) = lines
    assert line["event"] == "model.download"
    assert line["bytes"] == len(FILES["config.json"]) + len(FILES["weights.bin"])


def test_what_an_interrupted_download_left_is_gone_on_with(
    server: HubServer, tmp_path: Path
) -> None:
    left = 100_000
    blob = tmp_path / hub.folder_name(NAME) / "blobs" / etag_of(FILES["weights.bin"])
    blob.parent.mkdir(parents=True)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(FILES["weights.bin"][:left])
    fetched = hub.fetch(NAME, [tmp_path], choose)
    assert (fetched / "weights.bin").read_bytes() == FILES["weights.bin"]
    bodies = [(path, span) for method, path, span in server.requests if method == "GET"]
    assert [span for path, span in bodies if path.endswith("weights.bin")] == [f"bytes={left}-"]


def test_another_revision_serves_where_the_main_one_is_not_complete(tmp_path: Path) -> None:
    older = cached(tmp_path, NAME, FILES, revision="a" * 40)
    newer = cached(tmp_path, NAME, FILES, revision="b" * 40)
    os.utime(older, (1, 1))
    cached(tmp_path, NAME, {"config.json": b"{}"})
    assert hub.find(NAME, [tmp_path], complete) == newer
    main = cached(tmp_path / "second", NAME, FILES)
    assert hub.find(NAME, [tmp_path, tmp_path / "second"], complete) == main


def test_a_link_to_a_file_that_is_not_there_is_no_file(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, NAME, FILES)
    (snapshot / "weights.bin").resolve().unlink()
    assert hub.find(NAME, [tmp_path], complete) is None


def said(act: Callable[[], object]) -> str:
    with pytest.raises(NotFetched) as caught:
        act()
    return str(caught.value)


def test_a_hub_that_is_not_there_is_one_clause_and_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fetched() -> str:
        return said(lambda: hub.fetch(NAME, [tmp_path], choose, 0.2))

    use_hub(REFUSED, monkeypatch)
    assert fetched() == "127.0.0.1:9 can't be reached (the connection is refused)"
    use_hub(UNRESOLVED, monkeypatch)
    assert fetched() == "hub.invalid can't be reached (its name can't be resolved)"
    with BlackHole() as hole:
        use_hub(hole.url, monkeypatch)
        assert {fetched() for _ in range(3)} == {
            f"{hub.host()} can't be reached (no answer within 0.2 s)"
        }
        assert hole.questions == 1
    with HttpServer(200, {"Content-Type": "text/html"}) as page:
        use_hub(page.url, monkeypatch)
        assert "the network may want a login" in fetched()
        assert len(page.requests) == 1
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_environment_keeps_off_the_network(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    why = said(lambda: hub.fetch(NAME, [tmp_path], choose))
    assert why == "HF_HUB_OFFLINE keeps this process off the network"
    assert server.requests == []


def test_what_the_hub_does_not_have_is_said(server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(hub.Unsuitable, match="owner/name on 127"):
        hub.fetch(NAME, [tmp_path], lambda _: [])
    server.files.clear()
    with pytest.raises(hub.Unsuitable):
        hub.fetch(NAME, [tmp_path], choose)


def test_a_repository_that_is_not_there_or_not_shown_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpServer(401, {"X-Error-Code": "RepoNotFound"}) as server:
        use_hub(server.url, monkeypatch)
        why = said(lambda: hub.fetch(NAME, [tmp_path], choose))
    assert why == f"{hub.host()} has no owner/name, or shows it only with a token (HF_TOKEN)"


def test_a_cache_that_can_only_be_read_serves_and_another_gets_what_is_new(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_folder() as folder:
        use_caches(folder, monkeypatch)
        mounted, cache = folder / "mounted", folder / "cache"
        snapshot = cached(mounted, NAME, FILES)
        cached(mounted, "owner/partial", {"config.json": b"{}"})
        cache.mkdir()
        cache.chmod(0o777)
        with read_only(mounted):
            assert hub.find(NAME, [mounted, cache], complete) == snapshot
            assert server.requests == []
            assert said(lambda: hub.fetch("owner/partial", [mounted], choose)) == (
                "none of the folders for models can be written"
            )
            fetched = hub.fetch("owner/partial", [mounted, cache], choose)
            assert fetched.is_relative_to(cache)
            assert hub.find("owner/partial", [mounted, cache], complete) == fetched


ASK = """
import sys
from pathlib import Path
from worker.speech.fetch import hub
try:
    hub.fetch("owner/name", [Path(sys.argv[1])], list)
except hub.NotFetched as error:
    print(error)
"""


@pytest.mark.parametrize("offline", [False, True])
def test_the_clients_variables_name_a_mirror_or_forbid_the_network(
    tmp_path: Path, offline: bool
) -> None:
    """In a process of its own, because the client reads them once."""
    with HttpServer(503) as mirror:
        environ = os.environ | {
            "HF_ENDPOINT": f"{mirror.url}/mirror", "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HOME": str(tmp_path / "home"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", ASK, str(tmp_path)],
            env=environ, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.stderr == ""
    asked = [path for _, path, _ in mirror.requests]
    if offline:
        assert done.stdout == "HF_HUB_OFFLINE keeps this process off the network\n"
        assert asked == []
    else:
        assert done.stdout.endswith("can't be reached (the answer is HTTP 503)\n")
        assert asked == ["/mirror/owner/name/resolve/main/config.json"]
