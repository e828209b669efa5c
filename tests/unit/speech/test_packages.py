from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worker.speech.packages import package_folders, whisperx_installed


def test_a_package_is_found_without_being_imported() -> None:
    code = (
        "import sys; from worker.speech.packages import package_folders;"
        "(folder,) = package_folders('whisperx');"
        "assert (folder / 'alignment.py').is_file(); assert 'whisperx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_not_installed_or_no_package_has_no_folder() -> None:
    assert package_folders("nobody_has_this") == []
    assert package_folders("ast") == []


def test_the_extra_is_there_if_both_its_packages_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whisperx_installed()
    for name in ("torch", "whisperx"):
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, name, None)
            assert not whisperx_installed()
    # A folder that a removal left behind is no package.
    (tmp_path / "whisperx").mkdir()
    (tmp_path / "torch").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("torch", "whisperx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert not whisperx_installed()
