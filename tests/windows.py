"""Windows of speech as an engine makes them: of given texts, or of anything at all (hypothesis)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import strategies as st

from worker.results.spacing import LANGUAGES_WITHOUT_SPACES
from worker.results.transcript import Segment, Word

SPACELESS = re.compile(r"[。！？]?[^。！？\s]{1,3}[。！？]*|\S")  # noqa: RUF001  # full-width


def words_of(text: str, start: float, seconds: float, language: str) -> list[Word]:
    """The words of a text, each as long as the others."""
    found = SPACELESS.findall(text) if language in LANGUAGES_WITHOUT_SPACES else text.split()
    step = seconds / max(len(found), 1)
    return [
        Word(word=word, start=round(start + i * step, 3), end=round(start + (i + 1) * step, 3))
        for i, word in enumerate(found)
    ]


def window(
    text: str,
    start: float = 0.0,
    seconds: float = 10.0,
    language: str = "en",
    *,
    words: Sequence[Word] | None = None,
    figures: tuple[float, float | None, float | None, float | None] = (-0.2, None, None, None),
) -> Segment:
    spoken = words_of(text, start, seconds, language) if words is None else words
    avg_logprob, no_speech_prob, temperature, compression_ratio = figures
    return Segment(
        id=0,
        start=start,
        end=round(start + seconds, 3),
        text=text,
        avg_logprob=avg_logprob,
        no_speech_prob=no_speech_prob,
        temperature=temperature,
        compression_ratio=compression_ratio,
        language=language,
        words=tuple(spoken),
    )


SCRIPTS = st.sampled_from(
    [
        (
            "en",
            ["Well", "no.", "Mr.", "Smith", '"Go!"', "and", "left", "U.S.", "3.5", "…", "(So.)"],
        ),
        ("es", ["¿Vienes?", "¡Sí!", "(no)", "...Bien", '"Él', 'vino."', "-", "Sr."]),
        ("de", ["Das", "3.", "Haus", "z.", "B.", "groß.", "„Ja.“", "und", "Nein?"]),
        ("ru", ["Он", "ушёл.", "г.", "Москва", "«Да.»", "и", "там…", "Нет!"]),  # noqa: RUF001
        ("ar", ["مرحبا", "كيف", "حالك؟", "نعم.", "لا،"]),
        ("hi", ["यह", "है।", "वह", "क्या?", "डॉ."]),
        ("th", ["สวัสดี", "ครับ", "ไป", "ไหน"]),
        ("ja", ["今日は", "です。", "はい", "「ええ。」", "と", "？", "Go!"]),  # noqa: RUF001
        ("zh", ["你好", "吗?", "我很好。", "3.5万", "“好。”", "!"]),
        ("ko", ["안녕하세요.", "네", "아니요?"]),
        (None, ["Hi.", "你好。", "да", "😀"]),
    ]
)


@st.composite
def spoken(
    draw: st.DrawFn, kinds: Sequence[str] = ("spelled", "none", "heard", "other")
) -> list[Segment]:
    """Windows in order, with words, without, or with words that don't spell the text.

    Of those without words, some say where their speech was heard.
    """
    windows: list[Segment] = []
    clock = 0.0
    for _ in range(draw(st.integers(0, 6))):
        language, vocabulary = draw(SCRIPTS)
        said = draw(st.lists(st.sampled_from(vocabulary), min_size=1, max_size=25))
        joined = "" if language in LANGUAGES_WITHOUT_SPACES else draw(st.sampled_from([" ", "  "]))
        start = round(clock + draw(st.sampled_from([0.0, 0.3, 1.0, 1.5, 4.0])), 3)
        clock = start
        timed: list[Word] = []
        for word in said:
            begin = round(clock + draw(st.sampled_from([0.0, 0.0, 0.4, 2.5])), 3)
            clock = round(begin + draw(st.sampled_from([0.0, 0.25, 0.8])), 3)
            timed.append(Word(word=word, start=begin, end=clock))
        kind = draw(st.sampled_from(kinds))
        if kind == "other":
            timed = [word.model_copy(update={"word": "xyz"}) for word in timed]
        windows.append(
            Segment(
                id=len(windows),
                start=start,
                end=clock,
                text=joined.join(said),
                avg_logprob=-0.5,
                language=language,
                words=() if kind in ("none", "heard") else tuple(timed),
                speech=tuple((one.start, one.end) for one in timed if one.start < one.end)
                if kind == "heard"
                else (),
            )
        )
    return windows
