"""Scripts loaded as modules: their names have hyphens, so that `import` can't."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

__all__ = ["load_script", "load_template"]


@functools.cache
def load_script(path: Path) -> Any:
    """The module that a script is, loaded once."""
    name = path.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def load_template(path: Path) -> Mapping[str, Any]:
    """A CloudFormation template, read as the fleet's simulation reads it."""
    simulation = load_script(REPOSITORY / "scripts" / "simulate-fleet.py")
    template: Mapping[str, Any] = simulation.load_template(path)
    return template
