"""The command line: what it costs to start, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import click
import pytest

from worker import __version__
from worker.__main__ import INTERRUPTED, exit_code, run
from worker.cli.app import app
from worker.cli.flags import NOT_FOR_FILES
from worker.errors import (
    EngineError,
    ErrorCode,
    ExitCode,
    JobError,
    MachineError,
    SettingsError,
    TransientError,
)
from worker.jobs.fields import JOB_FIELDS
from worker.jobs.inputs import KINDS
from worker.sender.plan import stable_id
from worker.settings import Settings, flag

HEAVY = {"torch", "whisperx", "ctranslate2", "faster_whisper", "numpy", "av", "onnxruntime"}
START_SECONDS = 0.5

FILE = ("transcribe", __file__, "--output-dir", "out")
QUEUE = ("--log-level", "ERROR", "--queue-url", "http://127.0.0.1:9/q")
RAW_FILE = (*FILE, "--input-format", "s16le", "--input-rate", "8000")


def command(*arguments: str, python: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "worker", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported(*arguments: str) -> set[str]:
    """The top-level packages that a command imports, by Python's own record."""
    done = command(*arguments, python=["-X", "importtime"])
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 20, "no record of imports"
    return {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in lines}


def cpu_seconds(*arguments: str) -> float:
    """What a command costs, in seconds of CPU: other processes don't change it much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("submit", "--help"), ("submit", "s3://bucket/key")],
)
def test_help_and_submit_start_at_once(arguments: tuple[str, ...]) -> None:
    packages = imported(*arguments)
    assert not packages & HEAVY
    assert not packages & {"boto3", "botocore", "structlog", "rich"}
    assert min(cpu_seconds(*arguments) for _ in range(5)) < START_SECONDS


def test_submit_refuses_before_it_imports_what_sends() -> None:
    arguments = ("submit", "s3://Bucket/key", "--queue-url", "http://127.0.0.1:9/queue")
    assert command(*arguments).returncode == ExitCode.SETTINGS
    packages = imported(*arguments)
    assert "pydantic" in packages
    # What takes its time: without these it has started in 0.4 s.
    assert not packages & (HEAVY | {"boto3", "botocore", "structlog", "rich"})


def test_a_dry_run_needs_neither_a_queue_nor_aws() -> None:
    arguments = ("submit", "s3://bucket/key", "--dry-run", "--stable-ids")
    done = command(*arguments)
    assert done.returncode == ExitCode.OK
    assert json.loads(done.stdout) == {
        "input": "s3://bucket/key",
        "job_id": stable_id("s3://bucket/key"),
    }
    assert not imported(*arguments) & (HEAVY | {"boto3", "botocore", "structlog", "rich"})


@pytest.mark.parametrize("name", ["run", "check", "transcribe"])
def test_the_help_of_other_commands_imports_nothing_of_speech(name: str) -> None:
    assert not imported(name, "--help") & (HEAVY | {"boto3"})


def test_help_names_every_command() -> None:
    done = command("--help")
    assert done.returncode == ExitCode.OK
    found = [line.split()[0] for line in done.stdout.partition("Commands:\n")[2].splitlines()]
    assert found == ["run", "submit", "transcribe", "view", "check", "top", "demo"]


def test_the_help_of_submit_names_every_kind_of_input() -> None:
    text = " ".join(command("submit", "--help").stdout.split())
    assert f"{' or '.join(kind.form for kind in KINDS.values())}, or a local file." in text


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(("--help",), ""), (("submit", "s3://bucket/key", "--dry-run"), "1")],
    ids=["help", "submit"],
)
def test_a_full_disk_behind_standard_output_is_one_sentence(
    arguments: tuple[str, ...], unbuffered: str
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with full.open("wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=dict(os.environ) | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=60,
            check=False,
        )
    said = "error: standard output can't be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (ExitCode.FAILURE, said)


def test_no_command_at_all_shows_the_help_and_is_exit_2() -> None:
    done = command()
    assert done.returncode == ExitCode.SETTINGS
    assert done.stderr == command("--help").stdout


def test_version() -> None:
    assert command("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("name", ["run", "check"])
def test_every_setting_is_a_flag(name: str) -> None:
    text = command(name, "--help").stdout
    for setting in Settings.model_fields:
        assert f"  {flag(setting)} " in text, setting


def test_every_setting_that_means_something_for_files_is_a_flag_of_transcribe() -> None:
    from worker.speech.config import EngineConfig

    text = command("transcribe", "--help").stdout
    settings = {field.name for field in fields(EngineConfig)} & set(Settings.model_fields)
    assert len(settings) > 10
    for setting in settings | {"log_level", "log_format", "log_file", "vtt_word_times"}:
        assert f"  {flag(setting)} " in text, setting
    for setting in NOT_FOR_FILES | {"queue_url", "output", "idle_timeout", "work_dir"}:
        assert f"  {flag(setting)} " not in text
    for option in ("--language", "--words / --no-words", "--output-dir", "--stats", "--overwrite"):
        assert f"  {option} " in text
    for option in ("--input-format", "--input-rate", "--input-channels"):
        assert f"  {option} " in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "error: queue_url is not set: give --queue-url or WORKER_QUEUE_URL"),
        (
            ("run", "--batch-size", "many"),
            "error: 1 setting is wrong:\n  batch_size = 'many' (command line --batch-size): must"
            " be a whole number from 1 to 1024",
        ),
        (("run", "--config", "no.toml"), "error: --config no.toml: there is no such file"),
        (
            ("run", "--queue-url", "http://127.0.0.1:9/q", "--log-file", "no/such/dir/log"),
            "error: log_file = 'no/such/dir/log' can't be written",
        ),
        (("check", "--device", "gpu"), "device = 'gpu' (command line --device): must be one of"),
        (("transcribe", "no.wav"), "error: no.wav: there is no such file"),
        (("view", "n\x1bo.json"), "error: n\\x1bo.json is not there"),
        (
            (*FILE, "--log-file", __file__),
            f"error: --log-file {__file__} is an input and would be overwritten",
        ),
        (
            (*FILE, "--overwrite", "--skip-existing"),
            "give --overwrite or --skip-existing, not both",
        ),
        ((*FILE, "--stats", "no/such/file"), "error: --stats no/such/file can't be written: there"),
        (
            ("transcribe", __file__, "--output-dir", __file__),
            f"error: --output-dir {__file__} can't be written: {__file__} is not a directory",
        ),
        (("transcribe", __file__, "--output-dir", "out", "--language", "zz"), "language"),
        (("transcribe", __file__, "--output-dir", "out", "--formats", "doc"), "formats"),
        (
            (*FILE, "--input-format", "ulaw", "--input-rate", "8000"),
            "'--input-format': 'ulaw' is not one of 'mulaw', 'alaw', 's16le'",
        ),
        (
            (*FILE, "--input-format", "mulaw"),
            "error: --input-format mulaw: a file without a header doesn't say its sample rate; give"
            " --input-rate",
        ),
        (
            (*FILE, "--input-rate", "8000"),
            "error: --input-rate 8000 is only for files without a header: give --input-format too,"
            " or leave --input-rate out",
        ),
        ((*FILE, "--input-channels", "2"), "error: --input-channels 2 is only for files without"),
        (
            (*FILE, "--input-format", "alaw", "--input-rate", "8"),
            "error: --input-rate 8: must be a whole number from 1000 to 768000",
        ),
        (
            (*FILE, "--input-format", "alaw", "--input-rate", "8k"),
            "'--input-rate': '8k' is not a valid integer",
        ),
        (
            (*RAW_FILE, "--input-channels", "65"),
            "error: --input-channels 65: must be a whole number from 1 to 64",
        ),
        (
            ("run", "--language-options", "german"),
            "language_options = 'german' (command line --language-options): must be Whisper lang",
        ),
        (
            ("submit", "s3://bucket/key", "--dry-run", "--language", "de", "--multilingual"),
            "field 'multilingual' is true: the job's 'language' is 'de'",
        ),
        (
            (
                *FILE,
                "--channel-labels",
                ",customer",
                "--audio-stream",
                "ALL",
                "--max-speakers",
                "2",
            ),
            "field 'max_speakers' is 2: speakers are told apart only with 'diarize': send that as"
            " true, or leave this out; field 'audio_stream' is 'ALL': it must be the number of an"
            " audio track, 0 to 999, or 'all'; field 'channel_labels' item 1 is '': it must not be"
            " empty",
        ),
        (("submit", "s3://bucket/key"), "--queue-url"),
        (("submit",), "INPUT"),
        (("submit", "--queue-url", "http://127.0.0.1:9/q"), "INPUT"),
        (("submit", "--from-file", "no-such-list", "--dry-run"), "no-such-list"),
        (("submit", "--prefix", "audio/calls", "--dry-run"), "--prefix"),
        (("submit", "s3://bucket/key", "--dry-run", "--metadata", "=x"), "--metadata =x: write"),
        (("view", "no.json"), "error: no.json is not there: name a transcript (.json)"),
        (("view", "s3://Bucket/key"), "s3://Bucket/key"),
        (("nonsense",), "nonsense"),
        (("run", "--no-such-flag"), "--no-such-flag"),
    ],
)
def test_what_a_user_did_wrong_is_one_message_and_exit_2(
    arguments: tuple[str, ...], message: str
) -> None:
    done = command(*arguments)
    assert done.returncode == ExitCode.SETTINGS
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [("transcribe", ""), (*FILE, "--output-dir", ""), (*FILE, "--stats", ""), ("demo", "")],
)
def test_an_empty_path_is_not_the_current_directory(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter, match="it is empty: name a file or a directory"):
        app.main(list(arguments), standalone_mode=False)


def test_a_variable_is_read_and_named_as_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_QUEUE_URL", "http://127.0.0.1:9/q")
    monkeypatch.setenv("WORKER_DEVICE", "tpu")
    done = command("run")
    assert done.returncode == ExitCode.SETTINGS
    assert "device = 'tpu' (environment variable WORKER_DEVICE)" in done.stderr


@pytest.mark.parametrize("name", ["submit", "demo", "top"])
def test_commands_without_a_log_name_a_misspelled_variable(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_OUTPUT", "s3://results/x/")
    monkeypatch.setenv("WORKER_BATCHSIZE", "8")
    with pytest.raises(click.UsageError):
        app.main([name, "--no-such-flag"], standalone_mode=False)
    said = "warning: WORKER_BATCHSIZE is no setting; did you mean WORKER_BATCH_SIZE?\n"
    assert capsys.readouterr().err == said


def test_variables_that_are_right_cost_submit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_QUEUE_URL", "http://127.0.0.1:9/q")
    assert "pydantic_settings" not in imported("submit", "s3://bucket/key", "--dry-run")


def test_a_misspelled_flag_is_named_with_the_nearest() -> None:
    with pytest.raises(click.NoSuchOption) as refused:
        app.main(["run", "--modle", "base"], standalone_mode=False)
    assert "--model" in (refused.value.possibilities or [])


@pytest.mark.usefixtures("loggers_as_before")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--batch-size", "many"), "batch_size = 'many' (command line --batch-size): must be"),
        ((), "queue_url is not set"),
        (("--config", "none.toml"), "--config none.toml: there is no such file"),
        ((*QUEUE, "--device", "cuda", "--work-dir", __file__), "work_dir"),
    ],
)
def test_why_run_fails_stands_in_the_log_file_once(
    flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with pytest.raises(SettingsError, match=re.escape(said)):
        app.main(["run", "--log-file", str(log), *flags], standalone_mode=False)
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert "event=worker.failed" in line
    assert said in line


def test_a_log_file_that_can_not_be_written_is_no_second_error(tmp_path: Path) -> None:
    arguments = ["run", "--log-file", str(tmp_path / "no" / "log"), "--beam-size", "0"]
    with pytest.raises(SettingsError, match="beam_size = '0'"):
        app.main(arguments, standalone_mode=False)


def test_exit_codes() -> None:
    assert exit_code(SettingsError("x")) == 2
    assert exit_code(MachineError("x")) == 3
    assert exit_code(EngineError("x")) == 1
    assert exit_code(TransientError("x")) == 1
    assert exit_code(JobError(ErrorCode.INVALID_JOB, "x")) == 2


def test_an_interrupt_is_exit_130_as_in_a_shell() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run(click.Command("wait", callback=interrupted), [], program="wait")
    assert ended.value.code == INTERRUPTED == 128 + signal.SIGINT


def test_an_import_that_is_interrupted_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Native modules turn the interrupt that their import gets into another error."""

    def imported() -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("initialization failed")

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(SystemExit) as ended:
            run(click.Command("load", callback=imported), [], program="load")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == INTERRUPTED
    assert capfd.readouterr().err == ""


def test_what_is_a_setting_and_a_job_s_field_has_one_flag() -> None:
    for name in ("transcribe", "submit", "run"):
        chosen = app.commands[name]
        params = [param.name for param in chosen.get_params(click.Context(chosen))]
        assert len(params) == len(set(params)), name
        assert {"carry_context", "language_options", "multilingual"} < set(params), name


def test_a_dry_run_shows_what_was_typed_and_nothing_else() -> None:
    done = command(
        "submit", "s3://bucket/key", "--dry-run", "--stable-ids",
        "--carry-context", "auto", "--language-options", "fr,de", "--no-multilingual",
        "--channel-identification", "--channel-labels", "agent,客服", "--audio-stream", "1",
    )  # fmt: skip
    assert done.returncode == ExitCode.OK
    assert json.loads(done.stdout) == {
        "input": "s3://bucket/key",
        "job_id": stable_id("s3://bucket/key"),
        "carry_context": "auto",
        "language_options": ["de", "fr"],
        "multilingual": False,
        "channel_identification": True,
        "audio_stream": 1,
        "channel_labels": ["agent", "客服"],
    }


def test_a_jobs_flags_are_those_of_the_list() -> None:
    for name in ("submit", "transcribe"):
        text = command(name, "--help").stdout
        for field, listed in JOB_FIELDS.items():
            if listed.flag is not None:
                shown = name in listed.flag.commands
                assert (f"  {flag(field)} " in text) is shown, (name, field)


def test_the_help_of_submit_does_not_import_pydantic() -> None:
    for arguments in (("--help",), ("submit", "--help"), ("view", "--help"), ("demo", "--help")):
        assert "pydantic" not in imported(*arguments)


def test_the_pages_document_exit_codes_error_codes_and_commands() -> None:
    root = Path(__file__).resolve().parents[3]
    pages = ("worker/cli/README.md", "config/schemas/README.md")
    text = "".join((root / page).read_text(encoding="utf-8") for page in pages)
    for code in ExitCode:
        assert f"| {int(code)} |" in text
    for error in ErrorCode:
        assert f"| `{error}` |" in text
    for name in app.commands:
        assert f"transcription-worker {name}" in text
