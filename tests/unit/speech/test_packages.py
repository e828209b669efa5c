from __future__ import annotations

import subprocess
import sys

from worker.speech.packages import package_folders


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
