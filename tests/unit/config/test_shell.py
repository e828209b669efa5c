"""The shell scripts: linted, helpful, and harmless on a dry run."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPTS = [
    "config/bake-image.sh",
    "config/complete-lifecycle.sh",
    "config/fetch-release.sh",
    "config/user-data.sh",
    "scripts/launch-worker.sh",
    "scripts/make-release.sh",
]
SOURCED = ["config/releases.sh", "scripts/environment.sh"]
LAUNCH = (
    "--release",
    "s3://artifacts/release.tar.gz",
    "--queue-url",
    "https://sqs.us-east-1.amazonaws.com/123456789012/jobs",
    "--instance-profile",
    "worker",
)
USER_DATA_LIMIT = 16_384
"""EC2: bytes of user data before base64."""


def shellcheck(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "shellcheck", "--external-sources", path],
        cwd=REPOSITORY,  # what a script sources is named from here
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def recorder(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment in which `aws` writes its arguments to a file, one JSON list a call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    stand_in = folder / "aws"
    stand_in.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        f"open({str(calls)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "if 'describe-stacks' in sys.argv:\n"
        "    query = sys.argv[sys.argv.index('--query') + 1]\n"
        '    key = query.split("\'")[1]\n'
        "    print('s3://of-stack/' + key if 'Uri' in key else 'https://of-stack/' + key)\n"
        "else:\n"
        "    print('i-0123')\n"
    )
    stand_in.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}, calls


@pytest.mark.parametrize("script", SCRIPTS + SOURCED)
def test_shellcheck_finds_nothing(script: str, repository: Path) -> None:
    result = shellcheck(repository / script)
    assert (result.returncode, result.stdout) == (0, "")


def test_no_shell_script_is_forgotten(repository: Path) -> None:
    found = {
        str(path.relative_to(repository))
        for folder in ("config", "scripts")
        for path in (repository / folder).glob("*.sh")
    }
    assert found - set(SOURCED) == set(SCRIPTS)


def test_shellcheck_would_have_said_so(tmp_path: Path) -> None:
    script = tmp_path / "wrong.sh"
    script.write_text("#!/bin/bash\nrm $1\n")
    assert shellcheck(script).returncode != 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_may_be_run(script: str, repository: Path) -> None:
    assert (repository / script).stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("scripts/launch-worker.sh", ["--model", "--instance-type", "--spot", "--dry-run"]),
        ("scripts/make-release.sh", ["--output", "ReleaseUri"]),
        ("config/bake-image.sh", ["--release", "--parameter"]),
    ],
)
def test_help_says_what_there_is(script: str, words: list[str], run_shell: Run) -> None:
    result = run_shell(script, "--help")
    assert result.returncode == 0
    assert all(word in result.stdout for word in words)
    assert "set -euo pipefail" not in result.stdout


def test_help_of_launch_names_every_option(repository: Path, run_shell: Run) -> None:
    text = (repository / "scripts" / "launch-worker.sh").read_text()
    options = set(re.findall(r"^ +(--[a-z-]+)\) [a-z_]+=", text, flags=re.MULTILINE))
    assert len(options) > 10
    shown = run_shell("scripts/launch-worker.sh", "--help").stdout
    assert {option for option in options if option not in shown} == set()


def test_dry_run_calls_nothing(recorder: tuple[dict[str, str], Path], run_shell: Run) -> None:
    env, calls = recorder
    result = run_shell(
        "scripts/launch-worker.sh", *LAUNCH, "--spot", "--model", "turbo", "--dry-run", env=env
    )
    assert result.returncode == 0, result.stderr
    assert not calls.exists()
    assert "WORKER_MODEL=turbo\n" in result.stdout
    assert "MarketType=spot" in result.stdout


def launched(calls: Path) -> list[str]:
    (call,) = [json.loads(line) for line in calls.read_text().splitlines()]
    assert call[:2] == ["ec2", "run-instances"]
    return list(call)


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_launches_what_was_asked_for(
    recorder: tuple[dict[str, str], Path], run_shell: Run, tmp_path: Path
) -> None:
    env, calls = recorder
    result = run_shell(
        "scripts/launch-worker.sh",
        *LAUNCH,
        "--instance-type",
        "g5.xlarge",
        "--subnet",
        "subnet-1",
        env=env,
    )
    assert result.returncode == 0, result.stderr
    call = launched(calls)
    assert option(call, "--instance-type") == "g5.xlarge"
    assert option(call, "--subnet-id") == "subnet-1"
    assert "HttpTokens=required" in option(call, "--metadata-options")
    assert "Encrypted=true" in option(call, "--block-device-mappings")
    # The worker powers off when idle: that must end the bill, disk included.
    assert option(call, "--instance-initiated-shutdown-behavior") == "terminate"
    assert "--instance-market-options" not in call
    user_data = option(call, "--user-data")
    assert "WORKER_ON_IDLE=poweroff\n" in user_data
    assert "WORKER_PRICE_PER_HOUR=1.006\n" in user_data
    assert len(user_data.encode()) < USER_DATA_LIMIT
    assert "RELEASE_URI=s3://artifacts/release.tar.gz\n" in user_data
    assert user_data.endswith('exec bash "$folder/config/user-data.sh"')
    script = tmp_path / "user-data.sh"
    script.write_text(user_data)
    assert shellcheck(script).stdout == ""


def test_takes_from_a_stack_what_is_not_given(
    recorder: tuple[dict[str, str], Path], run_shell: Run
) -> None:
    env, calls = recorder
    result = run_shell(
        "scripts/launch-worker.sh", "--stack", "fleet", "--queue-url", "https://mine/q", env=env
    )
    assert result.returncode == 0, result.stderr
    asked = [json.loads(line) for line in calls.read_text().splitlines()]
    user_data = option(asked[-1], "--user-data")
    assert "WORKER_QUEUE_URL=https://mine/q\n" in user_data
    assert "RELEASE_URI=s3://of-stack/ReleaseUri\n" in user_data
    assert option(asked[-1], "--security-group-ids") == "https://of-stack/SecurityGroupId"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--queue-url", "https://q"], "--release is missing"),
        ([*LAUNCH, "--modell", "base"], "unknown option '--modell'"),
        ([*LAUNCH, "--model"], "--model needs a value"),
        ([*LAUNCH, "--on-idle", "terminate"], "exit or poweroff"),
        ([*LAUNCH, "--idle-timeout", "5m"], "--idle-timeout '5m'"),
        ([*LAUNCH, "--price", "cheap"], "--price 'cheap'"),
        ([*LAUNCH, "--model", "x\nWORKER_DEVICE=cpu"], "has a character"),
        ([*LAUNCH, "--output", "s3://b/$(reboot)/"], "has a character"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str],
    complaint: str,
    recorder: tuple[dict[str, str], Path],
    run_shell: Run,
) -> None:
    env, calls = recorder
    result = run_shell("scripts/launch-worker.sh", *arguments, env=env)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert not calls.exists()


def test_release_holds_what_an_instance_needs(tmp_path: Path, run_shell: Run) -> None:
    for needed in ("README.md", "LICENSE"):
        if not (Path(__file__).resolve().parents[3] / needed).exists():
            pytest.skip(f"needs {needed}")
    archive = tmp_path / "release.tar.gz"
    result = run_shell("scripts/make-release.sh", "--output", str(archive))
    assert result.returncode == 0, result.stderr
    with tarfile.open(archive) as release:
        names = set(release.getnames())
        owners = {member.uid for member in release.getmembers()}
    assert {
        "config/user-data.sh",
        "config/requirements.lock",
        "config/transcription-worker.service",
        "scripts/test-gpu-optimization.py",
        "worker/__main__.py",
    } <= names
    assert owners == {0}
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)


def test_the_same_code_makes_the_same_release(tmp_path: Path, run_shell: Run) -> None:
    """An instance names a release after its bytes: times, owners and umasks must not be in them."""
    copy = tmp_path / "copy"
    for name in ("config", "scripts", "worker/aws", "pyproject.toml", "README.md", "LICENSE"):
        source = REPOSITORY / name
        copy.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    made = []
    for mode in (0o644, 0o664):
        (copy / "worker/aws/sqs.py").chmod(mode)
        os.utime(copy / "worker/aws/sqs.py", (mode, mode))
        archive = tmp_path / f"{mode}.tar.gz"
        command = [str(copy / "scripts/make-release.sh"), "--output", str(archive)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        made.append(archive.read_bytes())
    assert made[0] == made[1]


def test_release_is_uploaded(
    recorder: tuple[dict[str, str], Path], run_shell: Run, repository: Path
) -> None:
    if not (repository / "README.md").exists() or not (repository / "LICENSE").exists():
        pytest.skip("needs README.md and LICENSE")
    env, calls = recorder
    result = run_shell("scripts/make-release.sh", "s3://artifacts/r.tar.gz", env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "s3://artifacts/r.tar.gz"
    (call,) = [json.loads(line) for line in calls.read_text().splitlines()]
    assert call[:2] == ["s3", "cp"]
    assert call[-1] == "s3://artifacts/r.tar.gz"


def test_baking_dry_run_calls_nothing(
    recorder: tuple[dict[str, str], Path], run_shell: Run
) -> None:
    env, calls = recorder
    result = run_shell(
        "config/bake-image.sh",
        "--release",
        "s3://artifacts/r.tar.gz",
        "--instance-profile",
        "worker",
        "--dry-run",
        env=env,
    )
    assert result.returncode == 0, result.stderr
    assert "BAKE=yes\n" in result.stdout
    # Stopped, not terminated: the image is made from its disk.
    assert "--instance-initiated-shutdown-behavior stop" in result.stdout
    assert not calls.exists()
