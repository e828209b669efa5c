"""Reading WhisperX's tables from its source, also where a later version is laid out otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.speech.words.whisperx_tables import read_file

TABLES = """
import something_that_is_not_installed

{torch} = {{"en": "WAV2VEC2_ASR_BASE_960H"}}
{hub} = {{"ja": "somebody/some-model"}}
{spaces} = ["ja", "zh"]
"""
NAMES = {
    "torch": "DEFAULT_ALIGN_MODELS_TORCH",
    "hub": "DEFAULT_ALIGN_MODELS_HF",
    "spaces": "LANGUAGES_WITHOUT_SPACES",
}


def written(directory: Path, source: str) -> Path:
    path = directory / "alignment.py"
    path.write_text(source, encoding="utf-8")
    return path


@pytest.mark.parametrize("hint", ["", ": dict[str, str]"])
def test_tables_are_read_with_and_without_type_hints(tmp_path: Path, hint: str) -> None:
    names = NAMES | {"torch": NAMES["torch"] + hint}
    tables = read_file(written(tmp_path, TABLES.format(**names)))
    assert tables.torchaudio == {"en": "WAV2VEC2_ASR_BASE_960H"}
    assert tables.hub == {"ja": "somebody/some-model"}
    assert tables.without_spaces == {"ja", "zh"}


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def broken(:",
        TABLES.format(**NAMES | {"hub": "ALIGN_MODELS"}),
        "from whisperx.tables import *\n",
        "DEFAULT_ALIGN_MODELS_HF = load_tables()\n",
        TABLES.format(**NAMES).replace("[", "len([").replace("]", "])"),
        TABLES.format(**NAMES).replace('{"ja": "somebody/some-model"}', '["ja"]'),
    ],
)
def test_another_layout_is_an_error_that_names_file_and_fix(tmp_path: Path, source: str) -> None:
    path = written(tmp_path, source)
    with pytest.raises(LookupError, match=r"requirements\.lock") as raised:
        read_file(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_gone_is_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"requirements\.lock"):
        read_file(tmp_path / "alignment.py")
