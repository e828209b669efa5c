"""The programs that pages name, as a terminal of a test has them.

Ours and the AWS command line are the real ones, in the test's process, against the protocol
server. Of what would take minutes, a card or another machine, the arguments are read by the
program's own parser and no more; of what isn't ours, the files that it is given must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest

from tests.conftest import REPOSITORY
from tests.fakes.terminal import Answer, Call, Turns
from tests.scripts import load_script
from worker.__main__ import run
from worker.cli.app import app

__all__ = ["AwsCli", "Programs", "known_phrase", "recorded"]

READ_ONLY = {
    "demo": "tests/integration/test_demo.py runs it",
    "top": "it ends with the worker",
    "view": "it serves until it is interrupted; its own tests ask it",
    "benchmark-align.py": "minutes",
    "benchmark-gpu-cpu-complete.py": "minutes; tests/integration/test_scripts_gpu.py runs it",
    "benchmark-kinds.py": "minutes, and recordings",
    "simulate-fleet.py": "a minute; tests/unit/config/test_simulation.py runs it",
    "test-gpu-optimization.py": "a card; tests/integration/test_scripts_gpu.py runs it",
}
"""Programs of which only the arguments are read, and what running them would take."""


class AwsCli:
    """The AWS command line: one process for many calls (tests/fakes/aws_cli.py).

    Args:
        endpoint: of the protocol server. The AWS command line has addresses of its own for SQS,
            which go over AWS_ENDPOINT_URL; only its option goes over those.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.aws_cli"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, call: Call) -> Answer:
        asked = {
            "arguments": ["--endpoint-url", self._endpoint, *call.arguments],
            "environ": dict(call.environ),
            "folder": str(call.folder),
        }
        with self._one_at_a_time:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return Answer(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=10)


class Programs:
    """What the test's process runs for a terminal.

    Args:
        turns: of the main thread.
        real: each call of ours is a process of its own, with the base model, and files are
            transcribed; else the worker has the fake engine, and `transcribe` is only read.
    """

    def __init__(self, turns: Turns, *, real: bool = False) -> None:
        self._turns = turns
        self._real = real
        self._workers: list[subprocess.Popen[str]] = []

    def transcription_worker(self, call: Call) -> Answer:
        """Our command. `run` is a process in any case, until it ends or the page does."""
        name = call.arguments[0]
        if name == "run" and not self._real:
            # Beside a command that waits for its results: it can't have its turn after that.
            read = _parse(call.arguments)
            return read if read.code else self._process(call, "-m", "tests.fakes.run_worker")
        if name in READ_ONLY or (name == "transcribe" and not self._real):
            return _parse(call.arguments)
        if self._real:
            return self._process(call, "-m", "worker", *call.arguments)
        return self._here(call, lambda: run(app, call.arguments, program=call.program))

    def python(self, call: Call) -> Answer:
        """The environment's Python: a module, a line of code, or one of our scripts."""
        first, *rest = call.arguments
        if first == "-c":
            return self._here(call, lambda: exec(rest[0], {}))  # noqa: S102 - a page's own line
        if first == "-m" and rest[0] == "worker":
            return self.transcription_worker(
                Call("python -m worker", tuple(rest[1:]), call.environ, call.folder, call.stdin)
            )
        if first == "-m" and rest[0] == "pytest":
            return recorded(call)
        if first == "-m":
            return self._here(call, lambda: runpy.run_module(rest[0], run_name="__main__"), *rest)
        script = REPOSITORY / first
        if script.name in READ_ONLY:
            return self._here(call, lambda: _parse_script(script), first, *rest)
        return self._here(call, lambda: load_script(script).main(rest), first, *rest)

    def end_of_wait(self, call: Call) -> Answer:
        """Workers in the background are stopped, where else they would be idle for minutes."""
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        return Answer()

    def close(self) -> None:
        """End what a page that failed has left running."""
        for worker in self._workers:
            worker.kill()

    def _here(self, call: Call, main: Callable[[], object], *argv: str) -> Answer:
        """Run it in this process, in the main thread, as if it were one of its own."""
        given = list(argv) or [call.program, *call.arguments]
        return self._turns.hand_over(lambda: _as_a_process(call, main, given))

    def _process(self, call: Call, *arguments: str) -> Answer:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=call.folder,
            env={**call.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if call.arguments[0] == "run":
            self._workers.append(process)
        output, errors = process.communicate(call.stdin)
        return Answer(process.returncode, output, errors)


def recorded(call: Call) -> Answer:
    """A program that isn't run here. What is named of our files must be there."""
    for word in call.arguments:
        if re.match(r"(config|scripts|tests|worker)/|Dockerfile", word):
            path = REPOSITORY / word.split("::")[0]
            if not path.exists():
                return Answer(1, errors=f"{call}: there is no {word}\n")
    return Answer()


def known_phrase(call: Call) -> Answer:
    """Grep in a log: the phrase is one that our code writes."""
    (phrase,) = (word for word in call.arguments[:-1] if not word.startswith("-"))
    sources = [*(REPOSITORY / "worker").rglob("*.py"), *(REPOSITORY / "scripts").glob("*.py")]
    if any(_writes(path, phrase) for path in sources):
        return Answer()
    return Answer(1, errors=f"no code writes {phrase!r}\n")


def _writes(source: Path, phrase: str) -> bool:
    """Whether the phrase stands in the source, a variable part of it aside."""
    text = source.read_text(encoding="utf-8")
    words = phrase.split()
    return phrase in text or (len(words) > 3 and " ".join(words[1:]) in text)


def _parse(arguments: tuple[str, ...]) -> Answer:
    """Read a command's arguments as the command does."""
    try:
        app.make_context("transcription-worker", list(arguments))
        name, *rest = arguments
        app.commands[name].make_context(name, rest)
    except click.ClickException as error:
        return Answer(error.exit_code, errors=f"{error.format_message()}\n")
    return Answer()


class _Read(Exception):
    """The arguments were accepted."""


def _parse_script(script: Path) -> int:
    """Start a script, and end it when its own parser has accepted the arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(
        self: argparse.ArgumentParser, args: Sequence[str] | None = None, namespace: None = None
    ) -> None:
        parse(self, args, namespace)
        raise _Read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            load_script(script).main()
        except _Read:
            return 0
    return 1


def _as_a_process(call: Call, main: Callable[[], object], argv: list[str]) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with (
        _environment(call),
        _signals(),
        contextlib.chdir(call.folder),
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.setattr(sys, "stdin", io.StringIO(call.stdin))
        patch.setattr(sys, "argv", argv)
        try:
            code = main()
        except SystemExit as end:
            code = end.code
    return Answer(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Handlers that a command sets are its own."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _environment(call: Call) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(call.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
