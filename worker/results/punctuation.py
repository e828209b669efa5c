"""The punctuation that ends sentences and clauses, in the scripts that Whisper writes (pure).

Of Unicode's Sentence_Terminal and Terminal_Punctuation (PropList.txt), what is in use today, with
the ellipsis and the dashes. Where a sentence ends is more than its sign: see `sentence_ends`.
"""

from __future__ import annotations

__all__ = ["CLAUSE_ENDS", "CLOSERS", "SENTENCE_ENDS"]

SENTENCE_ENDS = frozenset(
    ".?!…‼⁇⁈⁉"
    "\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH FULL STOP}\N{HALFWIDTH IDEOGRAPHIC FULL STOP}"
    "\N{FULLWIDTH QUESTION MARK}\N{FULLWIDTH EXCLAMATION MARK}"
    "\N{ARABIC QUESTION MARK}\N{ARABIC FULL STOP}\N{ARMENIAN FULL STOP}"
    "\N{DEVANAGARI DANDA}\N{DEVANAGARI DOUBLE DANDA}\N{TIBETAN MARK SHAD}"
    "\N{ETHIOPIC FULL STOP}\N{ETHIOPIC QUESTION MARK}"
    "\N{KHMER SIGN KHAN}\N{KHMER SIGN BARIYOOSAN}\N{MYANMAR SIGN SECTION}"
)
"""Signs that may end a sentence."""

CLAUSE_ENDS = frozenset(
    ",;:—"
    "\N{EN DASH}\N{IDEOGRAPHIC COMMA}\N{HALFWIDTH IDEOGRAPHIC COMMA}"
    "\N{FULLWIDTH COMMA}\N{FULLWIDTH SEMICOLON}\N{FULLWIDTH COLON}"
    "\N{ARABIC COMMA}\N{ARABIC SEMICOLON}\N{ARMENIAN COMMA}"
    "\N{ETHIOPIC COMMA}\N{ETHIOPIC SEMICOLON}\N{ETHIOPIC COLON}"
    "\N{KHMER SIGN CAMNUC PII KUUH}\N{MYANMAR SIGN LITTLE SECTION}"
)
"""Signs that may end a clause within a sentence."""

CLOSERS = (
    " \"')]}»\u201d\u2019\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
    "\N{RIGHT CORNER BRACKET}\N{RIGHT WHITE CORNER BRACKET}\N{FULLWIDTH RIGHT PARENTHESIS}"
    "\N{RIGHT BLACK LENTICULAR BRACKET}\N{RIGHT DOUBLE ANGLE BRACKET}\N{RIGHT ANGLE BRACKET}"
    "«\u201c\u2018\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
)
"""What may stand between such a sign and the next word, for `str.rstrip`: quotation marks and
brackets that close, and the space that French puts before them. German closes with marks that
others open with."""
