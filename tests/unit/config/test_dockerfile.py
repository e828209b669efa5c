"""Dockerfile.gpu: the properties that matter, read from its instructions.

No linter for Dockerfiles can be installed here; this parses the file's own small grammar
(instructions, continuations, stages) and checks what a reviewer would.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from worker.settings import Settings


@dataclass(frozen=True)
class Instruction:
    name: str
    arguments: str

    def exec_form(self) -> list[str]:
        """The JSON array of an exec-form instruction. Raises ValueError for shell form."""
        words = json.loads(self.arguments[self.arguments.index("[") :])
        assert all(isinstance(word, str) for word in words)
        return list(words)


def parse(text: str) -> list[list[Instruction]]:
    """Stages of instructions; what precedes the first FROM is a stage of its own."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages: list[list[Instruction]] = [[]]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, arguments = line.partition(" ")
        assert name.isupper(), line
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, arguments.strip()))
    return stages


@pytest.fixture(scope="module")
def stages(repository: Path) -> list[list[Instruction]]:
    return parse((repository / "Dockerfile.gpu").read_text())


@pytest.fixture(scope="module")
def final(stages: list[list[Instruction]]) -> list[Instruction]:
    return stages[-1]


def only(stage: list[Instruction], name: str) -> Instruction:
    (found,) = [i for i in stage if i.name == name]
    return found


def environment(stage: list[Instruction]) -> dict[str, str]:
    pairs = (i.arguments for i in stage if i.name == "ENV")
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(pairs)))


def test_parser_reads_what_docker_reads() -> None:
    text = 'ARG A=1\nFROM x AS y\n# comment\nRUN a \\\n    && b\nFROM z\nCMD ["c", "d"]\n'
    before, first, last = parse(text)
    assert [i.name for i in before + first + last] == ["ARG", "FROM", "RUN", "FROM", "CMD"]
    assert first[1].arguments == "a && b"
    assert last[1].exec_form() == ["c", "d"]


def test_packages_are_built_apart_from_what_runs(stages: list[list[Instruction]]) -> None:
    _, build, final = stages
    assert only(build, "FROM").arguments.endswith(" AS build")
    assert any("--from=build" in i.arguments for i in final if i.name == "COPY")
    installs = [i for i in final if i.name == "RUN" and re.search(r"\b(pip|uv|apt)", i.arguments)]
    assert installs == [], "the image that runs must hold no installer's leftovers"


def test_base_is_slim_and_may_be_pinned(stages: list[list[Instruction]]) -> None:
    (argument,) = [i.arguments for i in stages[0]]
    name, _, image = argument.partition("=")
    assert "slim" in image
    # With a tag, never `latest`; the digest is the builder's to give.
    assert re.fullmatch(r"python:3\.1[123]-slim(-\w+)?", image)
    assert all(only(s, "FROM").arguments.startswith(f"${{{name}}}") for s in stages[1:])


def test_every_package_is_checked_by_its_hash(stages: list[list[Instruction]]) -> None:
    build = stages[1]
    commands = " && ".join(i.arguments for i in build if i.name == "RUN").split(" && ")
    installs = [c for c in commands if re.search(r"pip (install|sync)", c)]
    hashed = [c for c in installs if "--require-hashes" in c and "requirements.lock" in c]
    others = [c for c in installs if c not in hashed]
    assert len(hashed) == 1
    # The installer itself, by version.
    assert len(others) == 1
    assert "uv==" in others[0]


def test_lock_is_copied_before_the_code(stages: list[list[Instruction]]) -> None:
    """A change of the code must not cost 7 GB of packages anew."""
    _, build, final = stages
    copied = [i.arguments.split()[0] for i in build if i.name == "COPY"]
    assert copied[0] == "config/requirements.lock"
    packages = next(i for i in build if "uv pip sync" in i.arguments)
    assert [i.name for i in build[: build.index(packages)]].count("COPY") == 1
    # And in layers of their own in the image.
    layers = [i.arguments.split()[1] for i in final if i.name == "COPY"]
    assert layers == ["/opt/worker", "/opt/app"]


def test_everything_is_compiled_where_it_can_still_be_written(
    stages: list[list[Instruction]],
) -> None:
    _, build, final = stages
    env = environment(build)
    assert env["UV_COMPILE_BYTECODE"] == "1"
    # Times of files may change when layers are copied; hashes of sources do not.
    assert env["PYC_INVALIDATION_MODE"] == "CHECKED_HASH"
    (compiled,) = [i.arguments for i in build if "compileall" in i.arguments]
    assert "--invalidation-mode checked-hash" in compiled
    assert compiled.split()[-1] == environment(final)["PYTHONPATH"]


def test_inputs_lie_on_a_volume_not_in_memory(final: list[Instruction]) -> None:
    volume = Path(only(final, "VOLUME").arguments)
    env = environment(final)
    assert Path(env["WORKER_WORK_DIR"]).is_relative_to(volume)
    assert Path(env["CUDA_CACHE_PATH"]).is_relative_to(volume)
    assert not Path(env["WORKER_MODEL"]).is_relative_to(volume)


def test_does_not_run_as_root(final: list[Instruction]) -> None:
    user = only(final, "USER").arguments.split(":")[0]
    # By number: Kubernetes' runAsNonRoot can't see who a name is.
    assert user.isdigit()
    assert int(user) >= 1000
    after = final[final.index(only(final, "USER")) + 1 :]
    assert {i.name for i in after} <= {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_entry_point_is_exec_form(final: list[Instruction]) -> None:
    """A shell in between would swallow SIGTERM, and with it the drain."""
    entry = only(final, "ENTRYPOINT").exec_form()
    assert entry[0].startswith("/")
    assert entry[1:] == ["-m", "worker"]
    assert only(final, "CMD").exec_form() == ["run"]


def test_health_is_asked_of_the_worker(
    stages: list[list[Instruction]], final: list[Instruction], repository: Path
) -> None:
    check = only(final, "HEALTHCHECK")
    command = check.exec_form()
    copied = {i.arguments.split()[1]: i.arguments.split()[0] for i in stages[1] if i.name == "COPY"}
    source = copied[command[-1]]
    assert (repository / source).is_file()
    assert "--start-period=" in check.arguments
    assert environment(final)["WORKER_METRICS_PORT"].isdigit()


def test_no_hub_is_asked(final: list[Instruction]) -> None:
    env = environment(final)
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["WORKER_MODEL"].startswith("/models/")
    assert env["PYANNOTE_METRICS_ENABLED"] == "0"


def test_a_gpu_is_asked_for(final: list[Instruction]) -> None:
    env = environment(final)
    assert env["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert env["WORKER_DEVICE"] == "cuda"


def test_settings_in_the_image_are_settings(final: list[Instruction]) -> None:
    names = {n.removeprefix("WORKER_").lower() for n in environment(final) if "WORKER_" in n}
    assert names <= set(Settings.model_fields)


def test_image_is_labelled(final: list[Instruction]) -> None:
    labels = only(final, "LABEL").arguments
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_context_holds_what_is_copied_and_little_else(
    stages: list[list[Instruction]], repository: Path
) -> None:
    rules = (repository / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*", "everything is left out unless named"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        i.arguments.split()[0]
        for stage in stages
        for i in stage
        if i.name == "COPY" and "--from" not in i.arguments
    }
    assert kept == copied
