"""Every command of every page is run, as it is written: what a page says is what is typed.

The text comes from the pages; nothing of it is repeated here. Only names that stand for a
reader's own (`placeholders`) are replaced. A program that isn't among those below fails its page,
so a new one has to be given its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import pytest

from tests.conftest import REPOSITORY, Aws
from tests.fakes.engine import fake_audio
from tests.fakes.media import encode
from tests.fakes.programs import AwsCli, Programs, known_phrase, recorded
from tests.fakes.speech import samples_of
from tests.fakes.terminal import Program, Terminal, Turns, terminal
from tests.pages import Kind, blocks, heads, in_lines, pages
from worker.speech.model.selftest import recording
from worker.speech.windows import SAMPLE_RATE

README = "README.md"
RUNNING = "config/README.md"

# moto's CloudFormation leaves out what tests/integration/test_cloudformation.py does by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")

RECORDED = {
    "curl": "asks a running worker; tests/unit/daemon/test_server.py does",
    "ffmpeg": "nothing of ours needs it, so it needn't be here",
    "docker": "it takes an engine and 7 GB; tests/unit/config/test_dockerfile.py reads its file",
    "journalctl": "systemd's",
    "nvidia-smi": "a card's",
    "pre-commit": "it would change the checkout's hooks; they are tools of ./scripts/test",
    "sudo": "it would change this machine; a container is installed this way by tests/host",
    "systemctl": "systemd's; a container has it in tests/host",
    "tail": "it follows a log for ever",
}
"""Programs that a page names and that aren't run here, and why."""

FUNCTIONS: Mapping[str, Program] = {**dict.fromkeys(RECORDED, recorded), "grep": known_phrase}

DRY = {
    "scripts/launch-worker.sh": "an image's name is resolved by EC2 alone",
    "config/bake-image.sh": "it waits until the instance has installed everything",
}
"""Scripts that get `--dry-run` behind what is written, and what they would need without."""

ENVIRONMENT = f"""\
source {REPOSITORY}/scripts/environment.sh
REPOSITORY=$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")/.." && pwd)
VENV="$REPOSITORY/.venv"
VENV_PYTHON="$VENV/bin/python"
prepare_environment() {{ :; }}
"""
"""scripts/environment.sh, where what it makes is there: to install packages takes minutes."""

TOOLS = ("cfn-lint", "lint-imports", "mypy", "ruff", "shellcheck")
"""What ./scripts/test starts besides Python."""


@pytest.fixture(scope="module")
def cli(aws_server: str) -> Iterator[AwsCli]:
    """One process for all pages."""
    with closing(AwsCli(aws_server)) as opened_once:
        yield opened_once


SHARED = {"huggingface", "torch", "uv", "pip"}
"""Caches that the README leaves where they are, because other programs use them too."""

IMAGE = "ami-12c6146b"
"""The protocol server asks of an image no more than a name."""


def placeholders(aws: Aws, page: str) -> dict[str, str]:
    """What stands in a page for a reader's own, and this test's own."""
    if page == ".github/CONTRIBUTING.md":
        return {"<version>": "1.0.0"}
    url = aws.make_queues().url
    queue = {" URL": f" {url}", "=URL": f"={url}"}
    if page != RUNNING:
        return queue
    ec2 = boto3.client("ec2", endpoint_url=aws.endpoint)
    network = ec2.describe_subnets()["Subnets"][:2]
    started = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"][0]
    boto3.client("ssm", endpoint_url=aws.endpoint).put_parameter(
        Name="/transcription/image", Value=IMAGE, Type="String"
    )
    return queue | {
        "vpc-...": network[0]["VpcId"],
        "subnet-...,subnet-...": ",".join(subnet["SubnetId"] for subnet in network),
        "subnet-...": network[0]["SubnetId"],
        "i-...": started["InstanceId"],
        "<account>-<region>": "123456789012-us-east-1",
        "<output InstanceProfileName>": "transcription-worker",
    }


def fill_in(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def checkout(folder: Path, programs: Programs) -> dict[Path, Program]:
    """A checkout to type in: this one's files, with stand-ins for what is started.

    Returns:
        The stand-ins, by their path.
    """
    for name in ("config", "scripts"):
        (folder / name).mkdir(parents=True)
        for path in (REPOSITORY / name).iterdir():
            (folder / name / path.name).symlink_to(path)
    for path in REPOSITORY.iterdir():
        if path.name not in ("config", "scripts", ".venv", ".git", "out"):
            (folder / path.name).symlink_to(path)
    (folder / "scripts" / "environment.sh").unlink()
    (folder / "scripts" / "environment.sh").write_text(ENVIRONMENT)
    for name in DRY:
        (folder / name).unlink()
        (folder / name).write_text(f'#!/bin/sh\nexec {REPOSITORY / name} "$@" --dry-run\n')
        (folder / name).chmod(0o755)
    # The image that is named there by itself is AWS's, and not on the protocol server.
    template = folder / "config" / "cloudformation.yaml"
    body = re.sub(r"(?<=Default: )/aws/service/\S+", "/transcription/image", template.read_text())
    template.unlink()
    template.write_text(body)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    return {
        binaries / "python": programs.python,
        binaries / "transcription-worker": programs.transcription_worker,
        **{binaries / tool: recorded for tool in TOOLS},
    }


@contextmanager
def opened(
    aws: Aws, cli: AwsCli, scratch: Path, *, real: bool = False, activated: bool = True
) -> Iterator[Terminal]:
    """A terminal in a checkout.

    Args:
        aws: the protocol server.
        cli: the AWS command line.
        scratch: an empty folder.
        real: programs are real ones, and recordings are speech.
        activated: the environment's programs are on the path.
    """
    turns = Turns()
    programs = Programs(turns, real=real)
    home = scratch / "home"
    folder = home / "transcription-worker"
    files = checkout(folder, programs)
    for name in ("talk.flac", "call.mp3", "call-17.flac", "recordings/a.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        _recording(folder / name, real=real)
    named: dict[str, Program] = {"aws": cli, "end-of-wait": programs.end_of_wait}
    if activated:
        named["transcription-worker"] = programs.transcription_worker
    environ = aws.environ | {
        "HOME": str(home),
        "WORKER_DEVICE": "cpu",
        "WORKER_WORK_DIR": str(scratch / "work"),
        "FAKE_PACE": json.dumps({"poll": 1, "tick": 0.1, "watch": 0.2}),
    }
    with (
        closing(programs),
        terminal(
            scratch, folder, named, functions=FUNCTIONS, files=files, environ=environ, turns=turns
        ) as shown,
    ):
        yield shown


def _recording(path: Path, *, real: bool) -> None:
    """Some speech, or what the fake engine takes for it."""
    sample = recording()
    if not real or sample is None:
        path.write_bytes(fake_audio(1.0))
        return
    codec = {".flac": "flac", ".mp3": "libmp3lame", ".wav": "pcm_s16le"}[path.suffix]
    heard = samples_of(sample)[6 * SAMPLE_RATE : 15 * SAMPLE_RATE]
    encode(path, heard, codec=codec, container=path.suffix[1:])


def typed(page: str) -> str:
    """All commands of a page, in the order of its blocks, then those within its lines."""
    found = [block.text for block in blocks(page) if block.kind == Kind.TYPED]
    # A mention of our command within a line is a name; tests/unit/test_page_blocks.py looks at it.
    within = [b.text for b in in_lines(page) if not b.text.startswith("transcription-worker ")]
    return "".join([*found, *dict.fromkeys(within)])


@pytest.mark.parametrize("page", [page for page in pages() if typed(page) and page != README])
def test_each_command_of_a_page_is_run_as_written(
    page: str, aws: Aws, cli: AwsCli, tmp_path: Path
) -> None:
    text = typed(page)
    aws.make_bucket("bucket")
    if page == RUNNING:
        aws.make_bucket("my-artifacts")
        for name in ("a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "audio/d.wav"):
            aws.s3.put_object(Bucket="bucket", Key=name, Body=fake_audio(1.0))
        # There is a worker, as the page takes for granted where it waits for a result.
        text = f"export WORKER_QUEUE_URL=URL\ntranscription-worker run &\n{text}"
    with opened(aws, cli, tmp_path) as shown:
        shown.type(fill_in(text, placeholders(aws, page)))


def test_each_command_in_the_head_of_a_script_is_run_as_written(
    aws: Aws, cli: AwsCli, tmp_path: Path
) -> None:
    aws.make_bucket("my-artifacts")
    aws.make_bucket("bucket")
    aws.s3.put_object(Bucket="bucket", Key="audio/d.wav", Body=fake_audio(1.0))
    with opened(aws, cli, tmp_path) as shown:
        for block in heads():
            shown.type(fill_in(block.text, placeholders(aws, block.page)))


def first_day(aws: Aws, cli: AwsCli, scratch: Path, *, real: bool) -> str:
    """Type all that the README says, and look at what is left; returns the local transcript."""
    *day, removal = (block.text for block in blocks(README) if block.kind == Kind.TYPED)
    look = "ls out >/dev/null && cat out/talk.txt\n" if real else ""
    with opened(aws, cli, scratch, real=real, activated=False) as shown:
        printed = shown.type("".join([*day, look, removal]))
    assert aws.s3.list_buckets()["Buckets"] == []
    assert "QueueUrls" not in aws.sqs.list_queues()
    home = shown.folder.parent
    assert {path.name for path in home.iterdir()} <= {shown.folder.name, ".cache"}
    assert {path.name for path in home.glob(".cache/*")} <= SHARED
    assert not {".venv", "out"} & {path.name for path in shown.folder.iterdir()}
    return printed


def test_the_first_day_is_typed_as_the_readme_has_it(aws: Aws, cli: AwsCli, tmp_path: Path) -> None:
    first_day(aws, cli, tmp_path, real=False)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_first_day_with_the_real_model(aws: Aws, cli: AwsCli, tmp_path: Path) -> None:
    """Each command of ours is a process of its own, as a person starts it."""
    assert "New Jersey" in first_day(aws, cli, tmp_path, real=True)


@pytest.mark.parametrize(
    "wrong",
    [
        """aws sqs create-queue --queue-name q --attributes '{"RedrivePolicy": "{\n}"}'""",
        "aws sqs create-queue --name q",
        "aws s3 cp nothing s3://bucket/",
        "transcription-worker submit --dry-rum s3://bucket/a.wav",
        "transcription-worker transcribe",
        "transcription-workers --help",
        ".venv/bin/python scripts/benchmark-align.py --sgments 60",
        "./scripts/launch-worker.sh --stak transcription",
        "docker build --file Dockerfile.cpu .",
        'grep "Transcription has ended" worker.log',
        "language = 'en'",
    ],
)
def test_what_is_wrong_in_a_page_fails(wrong: str, aws: Aws, cli: AwsCli, tmp_path: Path) -> None:
    with opened(aws, cli, tmp_path) as shown, pytest.raises(AssertionError):
        shown.type(wrong)
