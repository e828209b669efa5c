"""How the code is laid out: small classes, few modules at the root, a sentence at the top of each.

ruff bounds functions and import-linter says who may import whom (both in pyproject.toml); here is
what neither of them checks.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from worker import __version__

WORKER = REPOSITORY / "worker"

CLASS_LINES = 320

MODULES = sorted(path.relative_to(WORKER).as_posix() for path in WORKER.rglob("*.py"))
FOLDERS = sorted({Path(module).parent.as_posix() for module in MODULES} - {"."})


def _tree(module: str) -> ast.Module:
    return ast.parse((WORKER / module).read_text(encoding="utf-8"))


def test_there_is_something_to_look_at() -> None:
    """The tests below hold for every module of a list: it must not be empty."""
    assert {"__init__.py", "errors.py", "speech/engine/engine.py"} <= set(MODULES)
    assert {"aws", "speech", "speech/engine"} <= set(FOLDERS)


def test_no_class_is_too_large() -> None:
    lines = {
        (module, node.name): (node.end_lineno or 0) - node.lineno + 1
        for module in MODULES
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ClassDef)
    }
    large = {name: n for name, n in lines.items() if n > CLASS_LINES}
    assert not large, f"split them: a class has at most {CLASS_LINES} lines"


def test_the_root_holds_few_modules() -> None:
    at_the_root = {module for module in MODULES if "/" not in module}
    assert len(at_the_root - {"__init__.py", "__main__.py"}) <= 7, "put it into a folder"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(_tree(module)), "begin it with a docstring"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_a_package_and_its_tests_stand_in_the_same_place(folder: str) -> None:
    assert f"{folder}/__init__.py" in MODULES
    assert list((REPOSITORY / "tests" / "unit" / folder).glob("test_*.py"))


def test_no_folder_of_tests_outlives_what_it_tested() -> None:
    unit = REPOSITORY / "tests" / "unit"
    folders = {path.parent.relative_to(unit).as_posix() for path in unit.rglob("test_*.py")}
    # The files of config/ and scripts/, which are no package.
    assert folders - {"."} - {"config"} <= set(FOLDERS)


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "worker/__init__.py"
    copy = re.compile(rf"version[\W_]{{1,6}}{re.escape(__version__)}\b", re.IGNORECASE)
    files = [path for path in REPOSITORY.iterdir() if path.is_file()]
    for folder in ("worker", "config", "scripts", ".ci", ".github"):
        files += [p for p in (REPOSITORY / folder).rglob("*") if p.suffix != ".pyc" and p.is_file()]
    holders = [
        path.relative_to(REPOSITORY).as_posix()
        for path in files
        if copy.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert holders == ["worker/__init__.py"]


def test_actions_are_pinned_by_commit_and_may_only_read() -> None:
    """A tag can be moved to other code. The version stands beside the commit, for people."""
    workflows = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for workflow in workflows:
        text = workflow.read_text(encoding="utf-8")
        used = re.findall(r"uses: *(.+)", text)
        assert used
        for action in used:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
