"""Alignment models that can't be fetched: what real clients ask, and what is said of it.

Those that can be are in `test_align_whisperx`, beside what else imports transformers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_hosts import (
    REFUSED,
    UNRESOLVED,
    BlackHole,
    HubServer,
    cached,
    public_folder,
    read_only,
    use_caches,
    use_hub,
)
from worker.speech.fetch import hosts
from worker.speech.fetch.hosts import NotFetched
from worker.speech.words import align_models
from worker.speech.words.align import Aligner
from worker.speech.words.align_models import (
    ModelNotFetched,
    NoAlignModel,
    any_model_here,
    fetch_align_model,
    hosts_out_of_reach,
)

DUTCH = "jonatasgrosman/wav2vec2-large-xlsr-53-dutch"
FROM_THE_HUB = ["nl", "ja", "pt", "ru", "pl", "hu", "fi"]


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.setattr(hosts, "_hosts", {})


def use_hosts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both kinds of models come from this URL."""
    use_hub(url, monkeypatch)
    monkeypatch.setattr(align_models, "_TORCHAUDIO_URL", f"{url}/")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer({}) as running:
        use_hosts(running.url, monkeypatch)
        yield running


def settled(aligner: Aligner, language: str) -> bool | None:
    end = time.monotonic() + 60
    aligner.request(language)
    while aligner.ready(language) is None and time.monotonic() < end:
        time.sleep(0.002)
    return aligner.ready(language)


@pytest.mark.parametrize("kind", ["black hole", "refused", "unresolved"])
def test_hosts_that_cannot_be_reached_get_one_question_for_all_languages_and_files(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(hosts, "WAIT_SECONDS", 0.1)
    aligner = Aligner("cpu", model_dir=tmp_path)
    languages = [*FROM_THE_HUB, "en", "fr"]
    with BlackHole() as hole:
        url = {"black hole": hole.url, "refused": REFUSED, "unresolved": UNRESOLVED}[kind]
        use_hosts(url, monkeypatch)
        assert [settled(aligner, language) for language in languages] == [False] * 9
        for _ in range(22):
            for language in languages:
                aligner.request(language)
                assert aligner.ready(language) is False
        # Both kinds of models have the same host here.
        assert hole.questions == (kind == "black hole")
    host = hosts.name_of(url)
    for language in languages:
        assert f"and {host} can't be reached (" in aligner.why_not(language)
        cure = aligner.cure(language)
        assert cure.startswith(f"Let this machine reach {host} once, or copy the f")
        assert f"into {tmp_path}, or set word_times = 'attention'" in cure
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("given", [True, False])
def test_whether_any_model_is_on_this_machine(tmp_path: Path, given: bool) -> None:
    caches = tmp_path / "caches"
    model_dir = tmp_path / "given" if given else None
    assert not any_model_here(model_dir)
    hub = model_dir or caches / "cache" / "transcription-worker" / "models"
    files = {"config.json": b"{}", "preprocessor_config.json": b"{}", "vocab.json": b"{}"}
    cached(hub, DUTCH, files)
    cached(hub, "Systran/faster-whisper-base", {"model.bin": b"1"})
    assert not any_model_here(model_dir), "what a download left that broke off"
    (snapshot,) = (hub / f"models--{DUTCH.replace('/', '--')}" / "snapshots").iterdir()
    (snapshot / "model.safetensors").write_bytes(b"1")
    assert any_model_here(model_dir)
    shutil.rmtree(hub)
    assert not any_model_here(model_dir)
    checkpoints = model_dir or caches / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "wav2vec2_voxpopuli_base_10k_asr_it.pt").write_bytes(b"1")
    assert any_model_here(model_dir)


def test_without_whisperx_s_tables_no_model_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise LookupError("another version")

    monkeypatch.setattr(align_models, "read_tables", fail)
    assert not any_model_here(None)


def test_where_the_environment_forbids_the_network_no_host_is_asked(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for language in ("nl", "en"):
        with pytest.raises(ModelNotFetched, match="HF_HUB_OFFLINE keeps this process") as caught:
            fetch_align_model(language, tmp_path, lambda: None)
        assert caught.value.cure.startswith("Unset HF_HUB_OFFLINE and let this machine reach 127")
    assert server.requests == []
    with pytest.raises(NoAlignModel):
        fetch_align_model("cy", tmp_path, lambda: None)


def test_where_nothing_can_be_written_that_is_said_and_no_host_is_asked(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_folder() as folder:
        use_caches(folder, monkeypatch)
        with read_only(folder):
            for language in ("nl", "en"):
                with pytest.raises(ModelNotFetched, match="none of the folders for models can be"):
                    fetch_align_model(language, folder / "given", lambda: None)
    assert server.requests == []


def test_each_host_that_can_not_be_reached_is_named(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hosts_out_of_reach() == []
    use_hub(UNRESOLVED, monkeypatch)
    assert hosts_out_of_reach() == ["hub.invalid can't be reached (its name can't be resolved)"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFetched, match="HF_HUB_OFFLINE keeps"):
        hosts_out_of_reach()
