"""Each block of each page is of one kind: typed, shown, or a document that its reader takes."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import REPOSITORY
from tests.pages import PROGRAMS, Block, Kind, blocks, heads, in_lines, pages
from worker.cli.app import app
from worker.jobs.message import parse_message
from worker.jobs.request import JobDefaults
from worker.results.transcript import ErrorDocument, Transcript

ALL = [block for page in pages() for block in blocks(page)]


def of_kind(kind: Kind) -> list[Block]:
    found = [block for block in ALL if block.kind == kind]
    assert found, f"no page has a block of the kind {kind}: is it still looked for rightly?"
    return found


def test_each_block_is_of_a_kind() -> None:
    """What is typed is run by tests/integration/test_page_commands.py; the rest is seen here."""
    unknown = [str(block) for block in ALL if block.kind not in list(Kind)]
    assert not unknown, f"{unknown}: give its kind, {', '.join(kind or 'none' for kind in Kind)}"


@pytest.mark.parametrize("block", of_kind(Kind.SHOWN), ids=str)
def test_what_is_shown_is_not_to_be_typed(block: Block) -> None:
    typed = [line for line in block.text.split("\n") if PROGRAMS.match(line)]
    assert not typed, "indent what is typed: then it is run by a test"


@pytest.mark.parametrize("block", of_kind(Kind.JSON), ids=str)
def test_a_document_is_what_its_reader_takes(block: Block) -> None:
    status = json.loads(block.text).get("status")
    if status == "completed":
        Transcript.model_validate_json(block.text)
    elif status == "failed":
        ErrorDocument.model_validate_json(block.text)
    else:
        message = parse_message(block.text, message_id="m", defaults=JobDefaults())
        assert message.jobs
        assert not message.failures


@pytest.mark.parametrize("block", heads(synopses=True), ids=str)
def test_what_a_head_promises_is_read_by_its_script(block: Block) -> None:
    code = (REPOSITORY / block.page).read_text(encoding="utf-8").partition("\n\n")[2]
    for option in set(re.findall(r"--[a-z][a-z-]+", block.text)):
        assert re.search(rf"{option}\b(?!-)", code), f"{block}: nothing reads {option}"


MENTIONS = [
    block
    for page in pages()
    for block in in_lines(page)
    if block.text.startswith("transcription-worker ")
]


@pytest.mark.parametrize("block", MENTIONS, ids=str)
def test_a_mention_of_a_command_names_one_and_its_flags(block: Block) -> None:
    _, name, *rest = block.text.split()
    assert name in app.commands
    flags = {flag for option in app.commands[name].params for flag in option.opts}
    assert {word for word in rest if word.startswith("--")} <= flags


PAGE = """\
A line.

    typed --this
        as one block

    after a blank line

```text
shown
```

1. A list
    goes on.

    typed
"""


def test_blocks_are_found_as_they_stand() -> None:
    assert [(block.line, block.kind, block.text) for block in blocks("page", PAGE)] == [
        (3, Kind.TYPED, "typed --this\n    as one block\n\nafter a blank line\n"),
        (9, Kind.SHOWN, "shown\n"),
        (15, Kind.TYPED, "typed\n"),
    ]
