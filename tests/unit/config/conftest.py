"""The files under test, and scripts loaded as modules (their names have hyphens)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.scripts import load_script, load_template

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def config_dir() -> Path:
    return REPOSITORY / "config"


@pytest.fixture(scope="session")
def template(config_dir: Path) -> Mapping[str, Any]:
    """The CloudFormation template; short tags as Fn:: mappings."""
    return load_template(config_dir / "cloudformation.yaml")


@pytest.fixture(scope="session")
def resources(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The template's resources' properties, by logical name."""
    return {name: r.get("Properties", {}) for name, r in template["Resources"].items()}


@pytest.fixture(scope="session")
def simulation() -> ModuleType:
    """scripts/simulate-fleet.py."""
    module: ModuleType = load_script(REPOSITORY / "scripts" / "simulate-fleet.py")
    return module


@pytest.fixture(scope="session")
def run_shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a shell script of the repository with arguments; output captured, bounded in time."""

    def run(
        script: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", str(REPOSITORY / script), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=dict(env) if env is not None else None,
        )

    return run
