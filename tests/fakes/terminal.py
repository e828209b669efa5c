"""A terminal in which bash runs what a page says, word for word.

The shell, its quoting, pipes and variables are real, and so are the programs: a stand-in on the
path hands each call to the test's process, which runs the program there, because to start Python
and import everything takes longer than most of the commands. What becomes of it comes back as of
any process: output, errors, exit code.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

__all__ = ["Answer", "Call", "Program", "Terminal", "Turns", "terminal"]

T = TypeVar("T")

_LOOK_SECONDS = 0.05
"""How often it is looked whether bash has ended."""

_END = "wait() { end-of-wait; builtin wait; }; trap wait EXIT"
"""What runs in the background is stopped when it is waited for, and however the page ends: it would
keep its output open."""

_STAND_IN = """\
#!/usr/bin/env bash
# Hands its call to the test, and ends as the program did there.
set -euo pipefail
call=$(mktemp --directory --tmpdir={calls})
printf '%s\\0' {name} "$@" >"$call/arguments"
env --null >"$call/environment"
pwd >"$call/folder"
if [ -p /dev/stdin ]; then cat >"$call/input"; else : >"$call/input"; fi
exec 3<>/dev/tcp/127.0.0.1/{port}
echo "$call" >&3
read -r code <&3
cat "$call/output"
cat "$call/errors" >&2
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call."""

    code: int = 0
    output: str = ""
    errors: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A program as it was called."""

    program: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path
    stdin: str

    def __str__(self) -> str:
        return shlex.join([self.program, *self.arguments])


Program = Callable[[Call], Answer]


class Turns:
    """Work that other threads hand over to the main one, which has the signals."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Future[object], Callable[[], object]]] = SimpleQueue()

    def hand_over(self, work: Callable[[], T]) -> T:
        """What the work returns, when its turn has come."""
        future: Future[object] = Future()
        self._waiting.put((future, work))
        return cast("T", future.result())

    def take(self, seconds: float) -> None:
        """Do what waits, or wait this long for something; what the work raises is raised here."""
        try:
            future, work = self._waiting.get(timeout=seconds)
        except Empty:
            return
        future.set_result(work())


@dataclass
class Terminal:
    """Runs text in bash; `calls` has each call of a program and what became of it.

    Attributes:
        folder: the working directory.
        bin: the folder on the path, besides the system's, that has the programs.
        environ: of everything that is typed.
        functions: names that are programs for what is typed, and not for scripts that it starts.
        turns: of the main thread, taken while something is typed.
        calls: of programs so far, and what became of each.
    """

    folder: Path
    bin: Path
    environ: Mapping[str, str]
    functions: Iterable[str]
    turns: Turns
    calls: list[tuple[Call, Answer]] = field(default_factory=list)

    def type(self, text: str) -> str:
        """Run it in the folder, stop at what fails, and wait for what runs in the background.

        Returns:
            What was printed.

        Raises:
            AssertionError: something in it failed; the message has what was called.
        """
        own = [f'{name}() {{ {self.bin}/functions/{name} "$@"; }}' for name in self.functions]
        with (self.bin / "output").open("w+") as output, (self.bin / "errors").open("w+") as errors:
            bash = subprocess.Popen(
                ["/bin/bash", "-euo", "pipefail", "-c", "\n".join([*own, _END, text])],
                cwd=self.folder,
                env={**self.environ, "PATH": f"{self.bin}:/usr/bin:/bin", "PWD": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            try:
                while bash.poll() is None:
                    self.turns.take(_LOOK_SECONDS)
            finally:
                bash.kill()
            output.seek(0)
            errors.seek(0)
            printed, complaints = output.read(), errors.read()
        failed = [
            f"{answer.code}: {call}\n{answer.errors}" for call, answer in self.calls if answer.code
        ]
        assert not failed, "\n".join(failed)
        assert bash.returncode == 0, f"indent only what is typed\n{complaints}"
        return printed


@contextlib.contextmanager
def terminal(
    scratch: Path,
    folder: Path,
    programs: Mapping[str, Program],
    *,
    functions: Mapping[str, Program],
    files: Mapping[Path, Program],
    environ: Mapping[str, str],
    turns: Turns,
) -> Iterator[Terminal]:
    """A terminal with these programs.

    Args:
        scratch: an empty folder of its own.
        folder: the working directory.
        programs: by their names on the path. `end-of-wait` is called where what runs in the
            background is waited for, and has to end it.
        functions: by name, for what is typed only.
        files: by their path; a stand-in is written there.
        environ: of everything.
        turns: for programs that want the main thread.
    """
    calls = scratch / "calls"
    binaries = scratch / "bin"
    for place in (calls, binaries / "functions"):
        place.mkdir(parents=True)
    places = {
        **{binaries / name: program for name, program in programs.items()},
        **{binaries / "functions" / name: program for name, program in functions.items()},
        **files,
    }
    shown = Terminal(folder, binaries, environ, list(functions), turns)
    with _serving(shown, places) as port:
        for place in places:
            text = _STAND_IN.format(calls=calls, name=place, port=port)
            place.write_text(text, encoding="utf-8")
            place.chmod(0o755)
        yield shown


@contextlib.contextmanager
def _serving(shown: Terminal, programs: Mapping[Path, Program]) -> Iterator[int]:
    """The port of loopback at which calls are taken."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            where = Path(self.rfile.readline().decode().strip())
            place, *arguments = _fields(where / "arguments")
            call = Call(
                program=Path(place).name,
                arguments=tuple(arguments),
                environ=dict(pair.split("=", 1) for pair in _fields(where / "environment")),
                folder=Path((where / "folder").read_text(encoding="utf-8").strip()),
                stdin=(where / "input").read_text(encoding="utf-8"),
            )
            answer = Answer(code=70, errors="the test's own program failed")
            try:
                answer = programs[Path(place)](call)
            finally:
                shown.calls.append((call, answer))
                (where / "output").write_text(answer.output, encoding="utf-8")
                (where / "errors").write_text(answer.errors, encoding="utf-8")
                self.wfile.write(b"%d\n" % answer.code)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _fields(path: Path) -> list[str]:
    """What is separated, and ended, by NULs."""
    return os.fsdecode(path.read_bytes()).split("\0")[:-1]
