"""Log lines: their shape, what never stands in them, and a file that is rotated under load."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from worker import logs
from worker.errors import SettingsError
from worker.logs import LogFile, configure, get_logger

log = get_logger("worker.test")


pytestmark = pytest.mark.usefixtures("loggers_as_before")


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_text_line_is_for_a_person_and_greppable(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.info(
        "job.completed",
        message="Transcription completed in 12.34 seconds",
        job_id="call-17",
        audio_seconds=9.66123,
        device="cuda:0",
        note="two words",
    )
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO  Transcription completed in 12\.34 seconds  "
        r'event=job\.completed job_id=call-17 audio_seconds=9\.661 device=cuda:0 note="two words" '
        r"logger=worker\.test\n",
        line,
    )


def test_json_has_the_same_fields_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    for fmt in ("text", "json"):
        configure("INFO", fmt)
        log.warning("queue.lost", message="Lost it", job_id="j", n=3, gone=None, many=("a", "b"))
    text, as_json = capsys.readouterr().err.splitlines()
    fields = json.loads(as_json)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("timestamp"))
    assert fields == {
        "level": "warning",
        "message": "Lost it",
        "event": "queue.lost",
        "job_id": "j",
        "n": 3,
        "gone": None,
        "many": ["a", "b"],
        "logger": "worker.test",
    }
    names = re.findall(r"(\w+)=", text)
    assert names == ["event", "job_id", "n", "gone", "many", "logger"]
    assert " WARNING Lost it  " in text


def test_the_event_stands_in_for_a_missing_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    log.info("worker.idle")
    (line,) = json_lines(capsys.readouterr().err)
    assert line["message"] == line["event"] == "worker.idle"


def test_a_bound_logger_carries_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    bound = log.bind(job_id="call-1")
    bound.info("a.b")
    log.info("a.c")
    first, second = json_lines(capsys.readouterr().err)
    assert first["job_id"] == "call-1"
    assert "job_id" not in second


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    configure("WARNING", "json")
    log.info("not.logged")
    log.warning("logged")
    configure("DEBUG", "json")
    log.debug("logged.too")
    events = [line["event"] for line in json_lines(capsys.readouterr().err)]
    assert events == ["logged", "logged.too"]


def test_third_parties_go_through_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", "json")
    logging.getLogger("botocore.auth").debug("Authorization: secret")
    logging.getLogger("some.library").warning("disk %s is full", "sda")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old function", DeprecationWarning, stacklevel=1)
    library, warning = json_lines(capsys.readouterr().err)
    assert library["event"] == "library.log"
    assert library["logger"] == "some.library"
    assert library["message"] == "disk sda is full"
    assert warning["logger"] == "py.warnings"
    assert "old function" in warning["message"]


def test_whisperx_does_not_write_to_stdout_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # As at the start of a process: another test may have imported WhisperX in this one.
    monkeypatch.delitem(logging.root.manager.loggerDict, "whisperx", raising=False)
    configure()
    # WhisperX's own `get_logger` sets up a handler on stdout if it finds none on its logger.
    assert logging.getLogger("whisperx").handlers
    assert logging.getLogger("whisperx").propagate


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_exceptions(fmt: Literal["text", "json"], capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", fmt)
    try:
        raise ValueError("broken\n2026-01-01 00:00:00 INFO  forged  event=job.completed")
    except ValueError:
        log.exception("it.broke", message="It broke", job_id="j")
    out = capsys.readouterr().err
    assert "ValueError: broken" in out
    if fmt == "json":
        (line,) = json_lines(out)
        assert line["level"] == "error"
        assert "Traceback" in line["exception"]
    else:
        first, *rest = out.splitlines()
        assert first.endswith("event=it.broke job_id=j logger=worker.test")
        assert all(line.startswith("    ") for line in rest)


def test_no_customer_words_and_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", "json")
    log.info(
        "a.b",
        message="fetched https://b/k?X-Amz-Signature=hunter2",
        text="hunter2",
        prompt="hunter2",
        hotwords="hunter2",
        body="hunter2",
        url="http://user:hunter2@host/",
        nested={"url": "http://user:hunter2@host/", "list": ["https://h/?token=hunter2"]},
    )
    logging.getLogger("x").error("http://user:hunter2@host/")
    try:
        raise RuntimeError("http://user:hunter2@host/")
    except RuntimeError:
        log.exception("c.d")
    out = capsys.readouterr().err
    assert "hunter2" not in out
    assert len(out.splitlines()) == 3


def test_nothing_in_a_value_can_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.info("a.b", message="key a\nb\x1b[31m", key="x\ny z\x1b[0m", empty="")
    out = capsys.readouterr().err
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
    assert r"key a\nb\x1b[31m" in out
    assert 'empty=""' in out


def test_numbers_that_json_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    log.info("a.b", speed=float("nan"), most=float("inf"), path=Path("x"))
    (line,) = json_lines(capsys.readouterr().err)
    assert (line["speed"], line["most"], line["path"]) == ("nan", "inf", "x")


def test_configuring_again_replaces_the_first(tmp_path: Path) -> None:
    configure("INFO", "text", tmp_path / "a.log")
    configure("INFO", "text", tmp_path / "b.log")
    log.info("a.b")
    assert (tmp_path / "a.log").read_text() == ""
    assert len((tmp_path / "b.log").read_text().splitlines()) == 1


def test_a_file_that_can_not_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"log_file = .*missing.*No such file or directory"):
        configure("INFO", "text", tmp_path / "missing" / "worker.log")


def test_a_closed_stderr_hurts_nobody() -> None:
    code = (
        "import os, sys; from worker.logs import configure, get_logger; configure();"
        "get_logger('worker').info('a.b'); sys.stderr.close(); get_logger('worker').info('c.d');"
        "sys.stderr = None; get_logger('worker').info('e.f'); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "alive\n"


# --- the file --------------------------------------------------------------------------------


THREADS = 4
LINES = 1500


def write_under_load(path: Path, rotate_once: Callable[[int], None], rotations: int) -> int:
    """Several threads log numbered lines; meanwhile `rotate_once(i)` rotates what is there."""
    ready = threading.Barrier(THREADS + 1)

    def write(thread: int) -> None:
        mine = log.bind(thread=thread)
        ready.wait()
        for n in range(LINES):
            mine.info("load.line", n=n, padding="x" * (n % 97))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    ready.wait()
    made = 0
    while any(thread.is_alive() for thread in threads):
        if made < rotations and path.exists() and path.stat().st_size:
            rotate_once(made)
            made += 1
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    return made


def numbered(paths: list[Path]) -> list[tuple[int, int]]:
    """(thread, n) of every line; each must be whole."""
    found = []
    for path in paths:
        for line in path.read_bytes().decode().splitlines():
            match = re.fullmatch(
                r"\d{4}-\S+ \S+ INFO  load\.line  event=load\.line thread=(\d) n=(\d+) "
                r'padding=("")?(x*) logger=worker\.test',
                line,
            )
            assert match, line
            assert len(match[4]) == int(match[2]) % 97
            found.append((int(match[1]), int(match[2])))
    return found


@pytest.mark.parametrize("create", [True, False])
def test_renaming_under_load_loses_no_line(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "worker.log"
    configure("INFO", "text", path)

    def rotate(n: int) -> None:
        path.rename(tmp_path / f"worker.log.{n}")
        if create:  # as logrotate does with `create`; without it the worker makes the file
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o640))

    rotations = write_under_load(path, rotate, 60)
    assert rotations > 10
    found = numbered(list(tmp_path.glob("worker.log*")))
    assert len(found) == THREADS * LINES
    assert set(found) == {(thread, n) for thread in range(THREADS) for n in range(LINES)}


def test_each_line_stands_after_those_its_thread_wrote_before(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    configure("INFO", "text", path)
    kept: list[Path] = []

    def rotate(n: int) -> None:
        kept.append(path.rename(tmp_path / f"worker.log.{n}"))
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o640))

    assert write_under_load(path, rotate, 30) > 10
    found = numbered([*kept, path])
    for thread in range(THREADS):
        assert [n for of, n in found if of == thread] == list(range(LINES))


def test_truncating_a_copy_leaves_whole_lines_and_no_hole(tmp_path: Path) -> None:
    """What is written between logrotate's copy and its truncation is lost, whatever we do.

    So the copies and the file are searched for torn lines and holes (a file not opened for
    appending is full of NULs after a truncation), and nothing may be missing before the first
    and after the last rotation.
    """
    path = tmp_path / "worker.log"
    configure("INFO", "text", path)

    def rotate(n: int) -> None:
        shutil.copyfile(path, tmp_path / f"worker.log.{n}")
        os.truncate(path, 0)

    assert write_under_load(path, rotate, 20) > 10
    copies = sorted(tmp_path.glob("worker.log.*"))
    for file in [path, *copies]:
        assert b"\0" not in file.read_bytes()
    for copy in copies:  # a copy may have caught the last line half written
        whole = copy.read_bytes().rpartition(b"\n")[0]
        copy.write_bytes(whole + b"\n" if whole else b"")
    assert numbered([path, *copies])

    before = len(path.read_bytes().splitlines())
    for n in range(50):
        log.info("load.line", thread=9, n=n, padding="x" * (n % 97))
    assert len(path.read_bytes().splitlines()) == before + 50


def test_truncation_while_nobody_writes_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    configure("INFO", "text", path)
    for n in range(100):
        log.info("load.line", thread=1, n=n, padding="x" * (n % 97))
        if n % 10 == 9:
            shutil.copyfile(path, tmp_path / f"worker.log.{n:02}")
            os.truncate(path, 0)
    assert numbered([*sorted(tmp_path.glob("worker.log.*")), path]) == [(1, n) for n in range(100)]


def test_two_processes_may_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    code = (
        "import sys; from pathlib import Path; from worker.logs import configure, get_logger;"
        "configure('INFO', 'text', Path(sys.argv[1])); log = get_logger('worker.test');"
        "[log.info('load.line', thread=int(sys.argv[2]), n=n, padding='x' * (n % 97))"
        " for n in range(500)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(i)]) for i in range(2)
    ]
    for process in processes:
        assert process.wait(timeout=60) == 0
    assert sorted(numbered([path])) == [(i, n) for i in range(2) for n in range(500)]


def test_a_file_that_can_not_be_opened_again_hurts_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "worker.log"
    configure("INFO", "text", path)
    log.info("first.line")
    moved = folder.rename(tmp_path / "moved")
    log.info("second.line")
    log.info("third.line")
    kept = (moved / "worker.log").read_text()
    assert [line.split("event=")[1].split()[0] for line in kept.splitlines()] == [
        "first.line",
        "second.line",
        "third.line",
    ]
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 1, "reported once, not for every line"
    assert "can't be opened again" in complaints[0]

    folder.mkdir()
    monkeypatch.setattr(logs, "REOPEN_SECONDS", 0.0)
    log.info("fourth.line")
    assert "event=fourth.line" in path.read_text()


def test_a_line_that_can_not_be_written_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    configure("INFO", "text", full)
    log.info("no.room")
    out = capsys.readouterr().err
    assert "No space left on device" in out
    assert "event=no.room" in out


def test_a_value_that_can_not_be_shown_does_not_raise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("can't be shown")

    configure()
    log.info("a.b", value=Broken())
    log.info("c.d")
    assert "event=c.d" in capsys.readouterr().err


def test_a_closed_log_file_sends_later_lines_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("INFO", "text", tmp_path / "worker.log")
    (handler,) = [found for found in logging.getLogger().handlers if isinstance(found, LogFile)]
    handler.close()
    log.info("late.line")
    assert "event=late.line" in capsys.readouterr().err
