"""The locks: hashed, without a host's name, one version of each package, the light one light."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.locks import DEV, LIGHT, PRODUCTION, SAMPLE, requirements

LOCKS = (LIGHT, SAMPLE, PRODUCTION, DEV)

HEAVY = {"torch", "torchaudio", "torchcodec", "transformers", "whisperx", "lightning", "triton"}


def _project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def _names(wanted: list[Any]) -> set[str]:
    """The packages of a list of requirements; included groups are left out."""
    return {re.split(r"[\[<>=!~ ]", one)[0].lower() for one in wanted if isinstance(one, str)}


def _of(part: str) -> set[str]:
    """The packages that pyproject.toml names: in `dependencies`, in an extra, or in a group."""
    project = _project()
    extras = project["project"]["optional-dependencies"] | project["dependency-groups"]
    return _names(project["project"]["dependencies"] if part == "base" else extras[part])


def _pins(said: str) -> set[str]:
    """Versions and hashes; a marker may be wider where more packages want the same one."""
    return set(re.findall(r"^\S+==[^\s;]+|sha256:[0-9a-f]{64}", said, re.M))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    found = requirements(lock)
    assert found
    for name, said in found.items():
        for entry in re.split(r"\n(?=\S)", said):
            assert re.match(rf"{re.escape(name)}==\S+", entry), name
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    text = (REPOSITORY / "config" / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^ *(-i|--index-url|--extra-index-url|--find-links)\b", text, re.M)


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != DEV])
def test_the_largest_lock_has_all_of_the_others_in_the_same_versions(lock: str) -> None:
    largest = requirements(DEV)
    for name, said in requirements(lock).items():
        assert _pins(said) <= _pins(largest.get(name, "")), name


def test_the_light_lock_has_what_transcribes_on_a_cpu_and_nothing_heavy() -> None:
    found = set(requirements(LIGHT))
    assert _of("base") | _of("demo") <= found
    assert not found & (HEAVY | _of("whisperx"))
    assert not [name for name in found if name.startswith("nvidia-")]
    # Its recording is all that is wanted of this package: it comes alone.
    assert set(requirements(SAMPLE)) == _of("sample") == {"pyannote-audio"}


def test_the_light_lock_has_no_tool_of_a_developer() -> None:
    tools = _of("lint") | _of("test") | _of("charts")
    assert {"pytest", "ruff", "mypy", "cfn-lint", "matplotlib"} <= tools
    # CTranslate2 reads YAML itself, and moto is the demo's server.
    assert set(requirements(LIGHT)) & tools == {"pyyaml", "moto"}


def test_what_an_instance_installs_has_the_extra_whisperx_and_neither_demo_nor_tools() -> None:
    found = set(requirements(PRODUCTION))
    assert _of("base") | _of("whisperx") <= found
    assert not found & {"moto", "flask", "pytest", "ruff"}
