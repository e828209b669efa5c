"""The environment that systemd would give a service now: what `check --unit` shows settings of.

A shell on an instance has another one. The rules of environment files are systemd's
(`src/basic/env-file.c`), which are no shell's: `export` makes a line void, `#` after a value is a
part of it, nothing is expanded.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from worker.errors import SettingsError

__all__ = ["become", "environment_of", "read_environment_file"]

_SECONDS = 10.0

_FILE = re.compile(r"(?P<path>.+) \(ignore_errors=(?P<optional>yes|no)\)")

_LINE = re.compile(
    r"""
    [ \t\r\n]*
    (?: [\#;] [^\n\r]*                                      # a comment
      | (?P<key> [^\n\r=]+ ) =
        (?P<quoted> (?: [ \t]* (?: '[^']*' | "(?: \\. | [^"\\] )*" ) )* )
        [ \t]* (?P<plain> (?: \\. | [^\n\r\\] )* )
      | [^\n\r]+                                            # no assignment
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>(?:\\.|[^\"\\])*)\"", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TRAILING = re.compile(r"(?<!\\)[ \t]+$")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_KEPT = ("COLUMNS", "HOME", "LANG", "LINES", "NO_COLOR", "PATH", "TERM")
"""Variables that stay the shell's: systemd sets its own, or they concern this screen."""


def environment_of(unit: str) -> dict[str, str]:
    """A unit's variables: its `Environment=` lines, and over them those of its files.

    Args:
        unit: as systemctl takes it, such as `transcription-worker` or `transcription-worker@0`.

    Raises:
        SettingsError: there is no systemd or no such unit, or a file can't be read.
    """
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise SettingsError(f"--unit {unit}: this machine has no systemctl; leave --unit out")
    names = "--property=LoadState,Environment,EnvironmentFiles"
    try:
        done = subprocess.run(
            [systemctl, "show", names, "--", unit],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"--unit {unit}: systemctl can't be asked: {error}") from error
    if done.returncode != 0:
        raise SettingsError(f"--unit {unit}: systemctl says: {done.stderr.strip()}")
    lines = [line.partition("=") for line in done.stdout.splitlines()]
    if ("LoadState", "=", "loaded") not in lines:
        raise SettingsError(f"--unit {unit}: systemd knows no such unit")
    found: dict[str, str] = {}
    for name, _, value in lines:
        if name == "Environment":
            found |= dict(assignment.split("=", 1) for assignment in shlex.split(value))
    for name, _, value in lines:
        if name == "EnvironmentFiles" and (file := _FILE.fullmatch(value)):
            found |= _read(unit, Path(file["path"]), optional=file["optional"] == "yes")
    return found


def _read(unit: str, path: Path, *, optional: bool) -> dict[str, str]:
    try:
        return read_environment_file(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        if optional:
            return {}
        raise SettingsError(f"--unit {unit}: its file {path} isn't there") from None
    except OSError as error:
        raise SettingsError(
            f"--unit {unit}: its file {path} can't be read ({error.strerror}): run this with sudo"
        ) from error


def read_environment_file(text: str) -> dict[str, str]:
    """The variables of an environment file, by systemd's rules; void lines are left out (pure)."""
    return {
        key: _value(line["quoted"], line["plain"])
        for line in _LINE.finditer(text)
        if line["key"] is not None and _NAME.fullmatch(key := line["key"].rstrip(" \t"))
    }


def _value(quoted: str, plain: str) -> str:
    parts = [
        piece["single"] if piece["double"] is None else _ESCAPE.sub(_in_quotes, piece["double"])
        for piece in _QUOTED.finditer(quoted)
    ]
    rest = _ESCAPE.sub(lambda escape: escape[1].strip("\n\r"), _TRAILING.sub("", plain))
    return "".join([*parts, rest])


def _in_quotes(escape: re.Match[str]) -> str:
    character = escape[1]
    if character in '"\\`$':
        return character
    return "" if character == "\n" else f"\\{character}"


def become(variables: Mapping[str, str]) -> None:
    """Make these this process's environment, in place of the shell's."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept | dict(variables))
