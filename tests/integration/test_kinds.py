"""scripts/benchmark-kinds.py: sets made of real clips, decoded short and in full, side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fakes.tiny_model import base_model
from tests.scripts import load_script
from worker.bench.claims import MOST_OVER_FULL
from worker.bench.kind_sets import KINDS
from worker.errors import ExitCode

SCRIPT = REPOSITORY / "scripts" / "benchmark-kinds.py"


def run(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script changes its own process; here that is the tests'."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as the script sets it, and taken back afterwards
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name folders of clips"),
        (["here", "--sets", "there"], "name folders of clips"),
        (["here", "--files", "0"], "--files must be above zero"),
        (["here", "--kinds", "songs"], "--kinds songs: choose among clips, pauses"),
        (["nowhere"], "nowhere is no folder"),
        (["--sets", "nowhere"], "nowhere is no folder"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = load_script(SCRIPT).main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == ExitCode.SETTINGS
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_short_windows_are_as_right_as_full_ones_on_every_kind(
    speech_dir: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Kind by kind, because one on which `auto` is better would hide another on which it isn't.

    With 96 files a word or two are a tenth of a point, and chance alone still makes half of one. So
    no kind may be surely worse; which are over the bar of 0.3 points is printed, and for all kinds
    together the bar itself is asked.
    """
    base_model()
    folders = [str(speech_dir / name) for name in ("english", "english-more", "narrative")]
    out = tmp_path / "kinds.json"
    result = run(*folders, "--files", "96", "--json", str(out), timeout=3500)
    assert result.returncode == ExitCode.OK, result.stderr
    record_property("figure", result.stdout)
    kinds = json.loads(out.read_text())["kinds"]
    assert [kind["kind"] for kind in kinds] == list(KINDS)
    assert all(kind["auto_over_full"]["low"] <= 0 for kind in kinds), result.stdout
    words = sum(sum(kind["words"]) for kind in kinds)
    over = sum(sum(kind["words"]) * kind["auto_over_full"]["difference"] for kind in kinds) / words
    assert over <= MOST_OVER_FULL, result.stdout
    for kind in kinds:
        full, auto = (kind["contestants"][name]["repeating"] for name in ("full", "auto"))
        assert auto <= full, result.stdout
