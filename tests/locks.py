"""The locks in config/, read: which packages each names, in which versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

from tests.conftest import REPOSITORY

__all__ = ["DEV", "LIGHT", "PRODUCTION", "SAMPLE", "modules_beyond", "requirements"]

LIGHT = "requirements-demo.lock"
SAMPLE = "requirements-sample.lock"
PRODUCTION = "requirements.lock"
DEV = "requirements-dev.lock"


def requirements(lock: str) -> Mapping[str, str]:
    """What a lock says of each package: `name==version` with its marker, then its hashes."""
    text = (REPOSITORY / "config" / lock).read_text(encoding="utf-8")
    # One may stand there twice, for different Pythons.
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text.rstrip()):
        said = "\n".join(line for line in entry.split("\n") if not line.lstrip().startswith("#"))
        name = re.split(r"==", said, maxsplit=1)[0]
        found[name] = "\n".join(filter(None, (found.get(name), said)))
    return found


def modules_beyond(*locks: str) -> list[str]:
    """Modules at the top level that this environment has and these locks don't bring."""
    brought = {name for lock in locks for name in requirements(lock)}
    known = set(requirements(DEV))
    return sorted(
        module
        for module, distributions in metadata.packages_distributions().items()
        if (names := {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}) <= known
        and not names & brought
    )
