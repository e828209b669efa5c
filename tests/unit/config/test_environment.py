"""scripts/environment.sh: which environment is made, when, and what an interruption leaves.

Python is the real one; `uv` is a stand-in that writes down what it was asked to install.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOCKS = ("requirements.lock", "requirements-demo.lock", "requirements-sample.lock",
         "requirements-dev.lock")  # fmt: skip

LIGHT = ["requirements-demo.lock", "requirements-sample.lock"]
FULL = ["requirements-demo.lock", "requirements.lock"]
TEST = ["requirements-dev.lock"]

UV = """\
#!/bin/bash
[ ! -e "$0.broken" ] || exit 1
for word in "$@"; do case $word in *.lock) basename "$word" ;; esac; done >>"$0.calls"
"""


def _make_venv(folder: Path) -> None:
    """A virtual environment without anything, in less time than `python -m venv` takes."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages").mkdir(parents=True)
    (folder / "bin").mkdir()
    python = Path(sys.executable).resolve()
    (folder / "bin" / "python").symlink_to(python)
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\n")


class Checkout:
    """A repository with the script, locks of a line, and a virtual environment."""

    def __init__(self, root: Path, script: Path) -> None:
        self.root = root
        self.card = root / "nvidiactl"
        self.uv = root / ".venv" / "bin" / "uv"
        (root / "scripts").mkdir(parents=True)
        (root / "config").mkdir()
        shutil.copy(script, root / "scripts")
        for name in LOCKS:
            self.lock(name).write_text(f"package of {name}\n")
        _make_venv(root / ".venv")
        self.uv.write_text(UV)
        self.uv.chmod(0o755)

    def lock(self, name: str) -> Path:
        return self.root / "config" / name

    def stamp(self) -> str:
        return (self.root / ".venv" / "installed-lock").read_text()

    def prepare(self, kind: str = '"$(kind_for_demo)"') -> tuple[int, list[str]]:
        """The exit status, and the locks that were given to uv."""
        calls = self.uv.with_name("uv.calls")
        calls.unlink(missing_ok=True)
        script = f'source "$1"; CARD_FILES=("$2"); prepare_environment {kind}'
        done = subprocess.run(
            ["/bin/bash", "-euc", script, "x", "scripts/environment.sh", str(self.card)],
            cwd=self.root,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, calls.read_text().split() if calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", repository / "scripts" / "environment.sh")


def test_the_demo_installs_little_and_the_tests_complete_it(checkout: Checkout) -> None:
    assert checkout.prepare() == (0, LIGHT)
    assert checkout.stamp().startswith("light ")
    assert checkout.prepare() == (0, [])
    assert checkout.prepare("test") == (0, TEST)
    assert checkout.stamp().startswith("test ")
    # What has all serves the demo as well.
    assert checkout.prepare() == (0, [])
    assert checkout.prepare("test") == (0, [])
    assert (checkout.root / ".venv" / "bin" / "transcription-worker").exists()


def test_a_machine_with_a_card_gets_what_the_card_needs(checkout: Checkout) -> None:
    assert checkout.prepare() == (0, LIGHT)
    checkout.card.touch()
    assert checkout.prepare() == (0, FULL)
    checkout.card.unlink()
    assert checkout.prepare() == (0, [])


def test_a_demo_of_speakers_gets_what_tells_them_apart(checkout: Checkout) -> None:
    assert checkout.prepare() == (0, LIGHT)
    assert checkout.prepare('"$(kind_for_demo call.wav --speakers)"') == (0, FULL)
    assert checkout.stamp().startswith("full ")
    # What has all serves the other demo as well.
    assert checkout.prepare('"$(kind_for_demo call.wav)"') == (0, [])


def test_a_changed_lock_is_installed_and_the_environment_keeps_its_kind(
    checkout: Checkout,
) -> None:
    assert checkout.prepare("test") == (0, TEST)
    checkout.lock("requirements-demo.lock").write_text("another\n")
    assert checkout.prepare() == (0, [])  # not a lock of this kind
    checkout.lock("requirements-dev.lock").write_text("another\n")
    assert checkout.prepare() == (0, TEST)


def test_what_broke_off_is_taken_up_whoever_comes_next(checkout: Checkout) -> None:
    assert checkout.prepare() == (0, LIGHT)
    broken = checkout.uv.with_name("uv.broken")
    broken.touch()
    status, _ = checkout.prepare("test")
    assert status != 0
    assert checkout.stamp() == "test unfinished\n"
    broken.unlink()
    assert checkout.prepare() == (0, TEST)


def test_an_environment_that_was_moved_is_made_right(checkout: Checkout) -> None:
    assert checkout.prepare() == (0, LIGHT)
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)
    checkout.root, checkout.uv = moved, moved / ".venv" / "bin" / "uv"
    assert checkout.prepare() == (0, LIGHT)
    assert str(moved) in checkout.stamp()
