"""The pages: short enough, in their places, and true where a program can tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.pages import pages, prose
from worker.errors import ErrorCode, ExitCode
from worker.jobs.request import JobRequest

README_BYTES = 8000
"""What a stranger reads in two minutes, tables and commands included."""

SHORT = (
    "README.md",
    "scripts/README.md",
    "worker/cli/README.md",
    "worker/bench/README.md",
    "worker/bench/gpu_test/README.md",
    "worker/results/README.md",
    "worker/results/subtitles/README.md",
    "worker/speech/README.md",
    "worker/speech/engine/README.md",
    "worker/speech/media/README.md",
    "worker/speech/model/README.md",
    "worker/speech/speakers/README.md",
    "worker/speech/speakers/VOICES.md",
)

BESIDE = (
    "README.md",
    "CHANGELOG.md",
    ".github/CONTRIBUTING.md",
    "config/README.md",
    "config/schemas/README.md",
    "scripts/README.md",
    "tests/README.md",
    "worker/README.md",
    "worker/bench/README.md",
    "worker/cli/README.md",
)

PATH_ENDINGS = ("py", "sh", "md", "yaml", "lock")
"""Of names in pages that must be files of ours; other endings are results and settings too."""


def _name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


every_page = pytest.mark.parametrize("page", [REPOSITORY / name for name in pages()], ids=_name)


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def _section(name: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return _text(name).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _rows(section: str) -> list[list[str]]:
    """The cells of a section's tables, heads left out."""
    lines = [line for line in section.split("\n") if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {at - 1 for at, line in enumerate(lines) if set(line) <= set("|-")}
    return [row for at, row in enumerate(rows) if at not in heads and at - 1 not in heads]


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", SHORT)
def test_a_page_is_short(name: str) -> None:
    assert len((REPOSITORY / name).read_bytes()) <= README_BYTES


@pytest.mark.parametrize("name", BESIDE)
def test_each_page_stands_beside_its_folder(name: str) -> None:
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize("name", [name for name in BESIDE if name != "README.md"])
def test_the_readme_leads_to_each_page(name: str) -> None:
    assert f"]({name})" in _text("README.md")


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8")))
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{_name(page)}: {target}"
        assert there.is_relative_to(REPOSITORY), f"{_name(page)}: {target}"
        if anchor:
            assert there.suffix == ".md", f"{_name(page)}: {target}"
            assert anchor in _anchors(there), f"{_name(page)}: {target}"


@every_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """A name with a folder: from the root, from the page's own folder or from one above."""
    endings = "|".join(PATH_ENDINGS)
    above = [folder for folder in page.parents if folder.is_relative_to(REPOSITORY)]
    places = [*above, REPOSITORY / "worker" / "speech"]
    for name in re.findall(
        rf"`((?:[\w.@-]+/)+[\w.@-]+\.(?:{endings}))[`:]", page.read_text(encoding="utf-8")
    ):
        assert any((place / name).is_file() for place in places), f"{_name(page)}: {name}"


# -- the contract -----------------------------------------------------------------------------


def _meanings(codes: type[Enum]) -> dict[str, str]:
    """What errors.py says under each member: (value, its docstring)."""
    tree = ast.parse(_text("worker/errors.py"))
    (body,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == codes.__name__
    )
    found = {}
    for member, meaning in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(meaning, ast.Expr):
            (target,) = member.targets
            assert isinstance(target, ast.Name)
            found[str(codes[target.id].value)] = ast.literal_eval(meaning.value)
    return found


@pytest.mark.parametrize(("codes", "heading"), [(ErrorCode, "Errors"), (ExitCode, "Exit codes")])
def test_the_contract_has_the_codes_and_their_meanings(codes: type[Enum], heading: str) -> None:
    meanings = _meanings(codes)
    assert len(meanings) == len(codes)
    rows = _rows(_section("config/schemas/README.md", heading))
    assert {code.strip("`"): meaning for code, meaning in rows} == meanings


def test_the_contract_has_every_field_of_a_job() -> None:
    rows = _rows(_section("config/schemas/README.md", "Messages"))
    assert [row[0].strip("`") for row in rows] == list(JobRequest.model_fields)


# -- promises ---------------------------------------------------------------------------------


def test_every_promise_names_a_test_that_is_there() -> None:
    rows = _rows(_section("tests/README.md", "Promises"))
    assert len(rows) >= 23
    for _, proof in rows:
        named = re.fullmatch(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", proof)
        assert named, proof
        path, function = named.groups()
        tree = ast.parse(_text(path))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not function or function in names, f"{path}::{function}"


# -- the way into the code --------------------------------------------------------------------


def _modules() -> Iterator[Path]:
    return (REPOSITORY / "worker").rglob("*.py")


def test_the_folder_map_has_every_folder_and_every_module_at_the_root() -> None:
    worker = REPOSITORY / "worker"
    folders = {
        f"{path.parent.relative_to(worker).as_posix()}/" for path in worker.rglob("*/__init__.py")
    }
    roots = {path.name for path in worker.glob("*.py")} - {"__init__.py", "__main__.py"}
    rows = _rows(_section("worker/README.md", "Folders"))
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    assert named == folders | roots


def _started_threads(path: Path) -> Iterator[str]:
    """The names that a module gives to its threads: their fixed part, if they have one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if called not in ("SupervisedThread", "ThreadPool", "Thread"):
            continue
        names = [word.value for word in node.keywords if word.arg == "name"]
        name = names[0] if names else node.args[0] if node.args else None
        if isinstance(name, ast.JoinedStr):
            name = name.values[0]
        if isinstance(name, ast.Constant):
            yield str(name.value).rstrip("-")


def test_the_thread_table_has_the_threads_that_the_code_starts() -> None:
    rows = _rows(_section("worker/README.md", "Threads"))
    table = {
        re.sub(r"-[A-Z]+$", "", name): module.strip("`")
        for names, _, module in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    worker = REPOSITORY / "worker"
    for path in _modules():
        if path.is_relative_to(worker / "bench"):
            continue
        for name in _started_threads(path):
            assert name in table, f"{path}: the thread {name} is not in worker/README.md"
    for name, module in table.items():
        if name != "main":
            assert f'"{name}' in (worker / module).read_text(encoding="utf-8"), f"{name}: {module}"
