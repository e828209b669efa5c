"""The benchmarks' command lines: what is asked for, what is refused, how a run ends."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from worker.bench import options
from worker.bench.plan import Plan
from worker.errors import ExitCode, MachineError, SettingsError


def parsed(*argv: str, language: str = options.DETECT) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.py")
    parser.add_argument("--limit", type=int)
    options.add_model(parser, language=language)
    options.add_reports(parser)
    return options.parse(parser, argv, above_zero=("limit", "beam_size"))


def test_what_is_asked_for_is_in_the_plan() -> None:
    assert options.plan_of(parsed(language="en")) == Plan()
    assert options.plan_of(parsed()).language is None
    asked = ["--compute-type", "float32", "--beam-size", "2", "--language", "de", "--threads", "3"]
    plan = options.plan_of(parsed("--model", "models/tiny model", *asked))
    assert (plan.model, plan.model_label) == ("models/tiny model", "tiny model")
    assert (plan.compute_type, plan.beam_size) == ("float32", 2)
    assert (plan.language, plan.threads) == ("de", 3)


def test_the_command_can_be_typed_again() -> None:
    command = parsed("--model", "models/tiny model").command
    assert command == "benchmark.py --model 'models/tiny model'"


@pytest.mark.parametrize("argv", [("--limit", "0"), ("--beam-size", "-1")])
def test_numbers_that_mean_nothing_are_refused(
    argv: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*argv)
    assert ended.value.code == ExitCode.SETTINGS
    assert f"{argv[0]} must be above zero" in capsys.readouterr().err


def test_a_report_is_written_where_one_was_asked_for(tmp_path: Path) -> None:
    options.write(None, "nothing")
    options.write(tmp_path / "new" / "report.md", "figures")
    assert (tmp_path / "new" / "report.md").read_text(encoding="utf-8") == "figures"


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run sets in its process is undone."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize("download", [False, True])
def test_a_run_leaves_no_files_and_has_the_exit_code_of_its_work(download: bool) -> None:
    seen: list[Path] = []

    def work(scratch: Path, _: Console) -> int:
        (scratch / "file").touch()
        seen.append(scratch)
        return 7

    assert options.run("benchmark.py", work, download=download) == 7
    assert seen[0].name.startswith("benchmark-")
    assert not seen[0].exists()
    assert os.environ["HF_HUB_OFFLINE"] == ("0" if download else "1")


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("no such [model]"), ExitCode.SETTINGS),
        (MachineError("no such [model]"), ExitCode.MACHINE),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: Path, __: Console) -> int:
        raise error

    assert options.run("benchmark.py", work) == code
    assert capsys.readouterr().err == "benchmark.py: no such [model]\n"


@pytest.mark.usefixtures("own_process")
def test_a_run_that_is_stopped_leaves_no_files() -> None:
    seen: list[Path] = []

    def work(scratch: Path, _: Console) -> int:
        seen.append(scratch)
        signal.raise_signal(signal.SIGTERM)
        return 0

    with pytest.raises(SystemExit) as ended:
        options.run("benchmark.py", work)
    assert ended.value.code == 128 + signal.SIGTERM
    assert not seen[0].exists()
