"""The README's table of promises names tests that exist."""

from __future__ import annotations

import ast
import re

from tests.conftest import REPOSITORY


def test_every_promise_names_a_test_that_is_there() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme.split("## Promises")[1].split("\n## ")[0]
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", table)
    assert len(named) >= 20
    for path, function in named:
        tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not function or function in names, f"{path}::{function}"
