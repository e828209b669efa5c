"""A systemd unit's environment, read as systemd reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.unit import environment_of, read_environment_file
from worker.errors import SettingsError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("A = spaced out \t", "spaced out"),
        ("A=large-v3 # the large one", "large-v3 # the large one"),
        ("A='single $x \\n'", "single $x \\n"),
        ('A="double \\" \\\\ \\$ \\n"', 'double " \\ $ \\n'),
        ("A='one' \"two\"", "onetwo"),
        ("A=it's", "it's"),
        ("A=on\\\none", "onone"),
        ("A=a\\ ", "a "),
        ("A=", ""),
        ("A='two\nlines'", "two\nlines"),
        ("A=$HOME", "$HOME"),
        ("A=Müller", "Müller"),
    ],
)
def test_a_value_by_systemd_s_rules(line: str, value: str) -> None:
    assert read_environment_file(line) == {"A": value}
    assert read_environment_file(f"# x\n\n ; y='\n{line}\nB=2\r\n") == {"A": value, "B": "2"}


@pytest.mark.parametrize("line", ["export A=1", "# A=1", "; A=1", "A", "1A=1", "=1", "A-B=1"])
def test_void_lines(line: str) -> None:
    assert read_environment_file(f"{line}\nB=2") == {"B": "2"}


@given(st.text(max_size=60))
def test_no_file_is_an_error(text: str) -> None:
    read_environment_file(text)


def test_the_example_is_read() -> None:
    text = (ROOT / "config" / "worker.env.example").read_text(encoding="utf-8")
    assert read_environment_file(text)["WORKER_MODEL"] == "large-v3"


def systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str, code: int = 0) -> None:
    """Puts a systemctl in the way that says these lines."""
    (folder / "said").write_text("".join(f"{line}\n" for line in lines))
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\ncat '{folder}/said'\necho 'no bus' >&2\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_unit_s_lines_and_over_them_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.env").write_text("WORKER_MODEL='turbo'\nWORKER_WORK_DIR=/b\n")
    systemctl(
        tmp_path, monkeypatch,
        'Environment=HOME=/var/lib/w WORKER_WORK_DIR=/a "NOTE=two words"',
        f"EnvironmentFiles={tmp_path}/worker.env (ignore_errors=no)",
        f"EnvironmentFiles={tmp_path}/none.env (ignore_errors=yes)",
        "LoadState=loaded",
    )  # fmt: skip
    assert environment_of("transcription-worker") == {
        "HOME": "/var/lib/w",
        "NOTE": "two words",
        "WORKER_MODEL": "turbo",
        "WORKER_WORK_DIR": "/b",
    }


def test_what_can_not_be_known_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl(tmp_path, monkeypatch, "Environment=", "LoadState=not-found")
    with pytest.raises(SettingsError, match="--unit none: systemd knows no such unit"):
        environment_of("none")
    missing = f"EnvironmentFiles={tmp_path}/none.env (ignore_errors=no)"
    systemctl(tmp_path, monkeypatch, missing, "LoadState=loaded")
    with pytest.raises(SettingsError, match=r"its file .*none\.env isn't there"):
        environment_of("w")
    folder = f"EnvironmentFiles={tmp_path} (ignore_errors=no)"
    systemctl(tmp_path, monkeypatch, folder, "LoadState=loaded")
    with pytest.raises(
        SettingsError, match=r"can't be read \(Is a directory\): run this with sudo"
    ):
        environment_of("w")
    systemctl(tmp_path, monkeypatch, code=1)
    with pytest.raises(SettingsError, match="--unit w: systemctl says: no bus"):
        environment_of("w")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="this machine has no systemctl"):
        environment_of("w")
