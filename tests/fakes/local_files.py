"""What tests of local files share: files that seem to be audio, places that can't be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.engine import fake_audio
from worker.cli.media_files import MediaFile, find_files

NOBODY = 65534


def audio(path: Path, seconds: float = 5.0, *, marker: str | None = None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fake_audio(seconds, marker=marker, seed=seed))
    return path


def found(*paths: Path) -> list[MediaFile]:
    files, failures = find_files(paths)
    assert failures == []
    return files


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder of one's own, for a user whom permissions bind: root may write anywhere."""
    folder = Path(tempfile.mkdtemp())
    privileged = os.geteuid() == 0
    try:
        folder.chmod(0o777)
        if privileged:
            os.seteuid(NOBODY)
        yield folder
    finally:
        if privileged:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)
