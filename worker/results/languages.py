"""The languages Whisper knows, by code, and the one a transcript is written in (pure).

The tokenizer's own tuple lives in a module that imports the speech libraries; messages are
parsed and results rendered without them, so the codes are kept here and a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Task, Transcript

__all__ = ["LANGUAGE_NAMES", "segment_language", "text_language", "written_in"]

LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "af": "afrikaans",
        "am": "amharic",
        "ar": "arabic",
        "as": "assamese",
        "az": "azerbaijani",
        "ba": "bashkir",
        "be": "belarusian",
        "bg": "bulgarian",
        "bn": "bengali",
        "bo": "tibetan",
        "br": "breton",
        "bs": "bosnian",
        "ca": "catalan",
        "cs": "czech",
        "cy": "welsh",
        "da": "danish",
        "de": "german",
        "el": "greek",
        "en": "english",
        "es": "spanish",
        "et": "estonian",
        "eu": "basque",
        "fa": "persian",
        "fi": "finnish",
        "fo": "faroese",
        "fr": "french",
        "gl": "galician",
        "gu": "gujarati",
        "ha": "hausa",
        "haw": "hawaiian",
        "he": "hebrew",
        "hi": "hindi",
        "hr": "croatian",
        "ht": "haitian creole",
        "hu": "hungarian",
        "hy": "armenian",
        "id": "indonesian",
        "is": "icelandic",
        "it": "italian",
        "ja": "japanese",
        "jw": "javanese",
        "ka": "georgian",
        "kk": "kazakh",
        "km": "khmer",
        "kn": "kannada",
        "ko": "korean",
        "la": "latin",
        "lb": "luxembourgish",
        "ln": "lingala",
        "lo": "lao",
        "lt": "lithuanian",
        "lv": "latvian",
        "mg": "malagasy",
        "mi": "maori",
        "mk": "macedonian",
        "ml": "malayalam",
        "mn": "mongolian",
        "mr": "marathi",
        "ms": "malay",
        "mt": "maltese",
        "my": "myanmar",
        "ne": "nepali",
        "nl": "dutch",
        "nn": "nynorsk",
        "no": "norwegian",
        "oc": "occitan",
        "pa": "punjabi",
        "pl": "polish",
        "ps": "pashto",
        "pt": "portuguese",
        "ro": "romanian",
        "ru": "russian",
        "sa": "sanskrit",
        "sd": "sindhi",
        "si": "sinhala",
        "sk": "slovak",
        "sl": "slovenian",
        "sn": "shona",
        "so": "somali",
        "sq": "albanian",
        "sr": "serbian",
        "su": "sundanese",
        "sv": "swedish",
        "sw": "swahili",
        "ta": "tamil",
        "te": "telugu",
        "tg": "tajik",
        "th": "thai",
        "tk": "turkmen",
        "tl": "tagalog",
        "tr": "turkish",
        "tt": "tatar",
        "uk": "ukrainian",
        "ur": "urdu",
        "uz": "uzbek",
        "vi": "vietnamese",
        "yi": "yiddish",
        "yo": "yoruba",
        "zh": "chinese",
        "yue": "cantonese",
    }
)
"""English name of each code, lower case, as OpenAI's tokenizer lists them."""


def written_in(spoken: str | None, task: Task) -> str | None:
    """The code of the language that a text is written in; None if not known.

    Args:
        spoken: code of the language that was heard; None if not known.
        task: what was asked; a translation is English, whatever was spoken.
    """
    return "en" if task == "translate" else spoken


def text_language(transcript: Transcript) -> str | None:
    """The code of the language a transcript's text is in; of several, the one most spoken.

    A translation is English, whatever was spoken. None where there was no speech.
    """
    spoken = transcript.language.code if transcript.language else None
    return written_in(spoken, transcript.task)


def segment_language(transcript: Transcript, segment: Segment) -> str | None:
    """The code of the language a segment's text is in; None if not known."""
    return written_in(segment.language, transcript.task) or text_language(transcript)
