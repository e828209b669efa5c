"""A text from which words were taken looks as if they had never been said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.results.wording.closing import is_shown, removal


def without(text: str, word: str = "damn") -> str:
    """A text without each of a word, the last first."""
    while (first := text.rfind(word)) >= 0:
        gone = removal(text, first, first + len(word))
        text = text[: gone.first] + gone.mark + " " * gone.space + text[gone.end :]
    return text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I damn know.", "I know."),
        ("Well, damn, I know.", "Well, I know."),
        ("I know damn, and you?", "I know and you?"),
        ("damn, I know.", "I know."),
        ("Oh, damn! I know.", "Oh! I know."),
        ("I know. damn. And you?", "I know. And you?"),
        ("I know, damn", "I know"),
        ("Oh damn... no.", "Oh... no."),
        ("damn, damn, damn!", ""),
        ("yes \u2014 damn \u2014 no", "yes \u2014 no"),
        ("well \u2014 damn.", "well."),
        ("damn \u2014 no", "no"),
        ('He said "damn!" and left.', "He said! and left."),
        ('He said "damn you!" and left.', 'He said "you!" and left.'),
        ('"You damn!" he said.', '"You!" he said.'),
        ("yes (damn) no", "yes no"),
        ("yes («damn») no", "yes no"),
        ("yes (damn it) no", "yes (it) no"),
        ("¡damn! Vamos.", "Vamos."),
        ("¿damn, qué?", "¿qué?"),
        ("damn's car, the damn\u2019s", "car, the"),
        ("l'damn et d\u2019damn ici", "et ici"),
        ("well-damn", "well"),
        ("damn-well said", "well said"),
        ("all-damn-day", "all-day"),
        ("and/damn/or", "and/or"),
        ("see damn.com now", "see com now"),
        ("彼はdamn、行く。", "彼は行く。"),
        ("はい。damn。行く。", "はい。行く。"),
        ("彼はdamn。", "彼は。"),
        ("हाँ damn। नहीं।", "हाँ। नहीं।"),
        ("لا، damn؟ نعم", "لا؟ نعم"),
        ("it is C# damn, yes", "it is C# yes"),
        ("Non, damn !", "Non!"),
        ("Non, damn\u202f! Et toi ?", "Non! Et toi ?"),
        ("l'damn et d'autres, L\u2019damn !", "et d'autres!"),
        ("Non ! Damn ! damn ! Oui.", "Non ! Damn ! Oui."),
        ("damn ; oui", "oui"),
        ("Il dit : damn : oui", "Il dit : oui"),
        ("oui « damn » non", "oui non"),
        ("oui « damn, toi » non", "oui « toi » non"),
        ("« Toi, damn ! » Oui.", "« Toi! » Oui."),
        ("oui « toi, damn » non", "oui « toi » non"),
        ("Il dit « non ! » damn.", "Il dit « non ! »"),
        ("#damn, @damn", ""),
        ("$damn and damn% or +damn", "and or"),
        ("damn@x.com AT&damn damn&Co", "@x.com AT& &Co"),
        ("damn\N{PILE OF POO} yes", "\N{PILE OF POO} yes"),
    ],
)
def test_examples(text: str, left: str) -> None:
    assert without(text) == left


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet="ab ,.!?:;\"'()-\u2014¿/«»…東。d#$\u00a0", max_size=12), st.data())
def test_other_words_stay_and_white_space_is_closed(other: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(other)))
    text = f"{other[:at]} damn {other[at:]}"
    left = without(text)
    assert [c for c in left if c.isalnum()] == [c for c in other if c.isalnum()]
    first = text.index("damn")
    gone = removal(text, first, first + 4)
    assert gone.first <= first < first + 4 <= gone.end
    assert not left[gone.first - 1 : gone.first + 1].isspace() or gone.first == 0
    assert is_shown(left) == any(c.isalnum() or c in "#$" for c in left)
