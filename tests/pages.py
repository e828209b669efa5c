"""What the pages show and say to type: their blocks, and the commands within their lines.

A page is a Markdown file, or the head of a script: the comment or docstring that it begins with.
What is typed is indented; what is shown, and documents, stand in a fence that names their kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.conftest import REPOSITORY

__all__ = ["PROGRAMS", "Block", "Kind", "blocks", "heads", "in_lines", "pages", "prose"]

PROGRAMS = re.compile(r"(\./|\.venv/)\S|(transcription-worker|aws|python|find|uv|ffmpeg) ")
"""How what is typed begins, where it stands among other things."""


class Kind(StrEnum):
    """What a block is, by the word on its fence."""

    TYPED = ""
    SHOWN = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a page that stand by themselves.

    Attributes:
        page: its path from the repository's root.
        line: number of the first line, from 1.
        text: without the indentation that all lines have, or the fence.
        kind: a `Kind`, unless the page names one that isn't.
    """

    page: str
    line: int
    text: str
    kind: str = Kind.TYPED

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every Markdown file of the repository; a checkout holds others, in .venv and out."""
    folders = (".github", "config", "scripts", "tests", "worker")
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.md")]
    return sorted(
        path.relative_to(REPOSITORY).as_posix() for path in [*REPOSITORY.glob("*.md"), *found]
    )


_FENCED = re.compile(r"^```(?P<kind>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?P<text>(?: {4}.*\n|\n(?= {4}))+)")


def prose(text: str) -> str:
    """A page's text with its fenced and indented blocks empty; lines keep their numbers."""
    text = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), text)
    return re.sub(r"^    .*", "", text, flags=re.MULTILINE)


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The indented and the fenced blocks of a page, in order.

    Args:
        page: its path from the repository's root.
        text: what stands in it; read if not given.
    """
    if text is None:
        text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start("text")) + 1, match["text"], match["kind"])
        for match in _FENCED.finditer(text)
    ]
    unfenced = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), text)
    found += [
        Block(page, unfenced.count("\n", 0, match.start()) + 1, _dedented(match["text"]))
        for match in _INDENTED.finditer(unfenced)
    ]
    return sorted(found, key=lambda block: block.line)


def _dedented(text: str) -> str:
    return re.sub(r"^ {4}", "", text, flags=re.MULTILINE)


def in_lines(page: str) -> list[Block]:
    """The commands, with arguments, between backquotes within a page's lines."""
    text = prose((REPOSITORY / page).read_text(encoding="utf-8"))
    return [
        Block(page, number, span.replace(r"\|", "|") + "\n")
        for number, line in enumerate(text.split("\n"), start=1)
        for span in re.findall(r"`([^`]+)`", line)
        if PROGRAMS.match(span) and " " in span
    ]


def heads(*, synopses: bool = False) -> list[Block]:
    """The commands in the heads of scripts, shell or Python.

    Args:
        synopses: those with optional parts (`[--this]`), which nobody types as they stand; else
            the others.
    """
    folders = (REPOSITORY / "scripts", REPOSITORY / "config")
    files = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    found = [block for path in files for block in _in_head(path)]
    return [block for block in found if ("[" in block.text) is synopses]


def _in_head(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        head, margin = ast.get_docstring(ast.parse(text), clean=False) or "", 4
    elif text.startswith("#!"):
        comment = text.split("\n\n")[0].split("\n")
        head, margin = "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment), 2
    else:
        return
    page = path.relative_to(REPOSITORY).as_posix()
    # A command goes on where the line ends in a backslash, or is indented further.
    for match in re.finditer(rf"^ {{{margin}}}(\S(?:.*\\\n|.*\n {{{margin + 4}}})*.*)", head, re.M):
        if PROGRAMS.match(match[1]):
            yield Block(page, head.count("\n", 0, match.start()) + 1, match[1] + "\n")
