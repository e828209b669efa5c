"""config/user-data.sh and config/complete-lifecycle.sh, run in a directory of their own.

The commands that only an instance has (and those that would touch this machine) are stand-ins
that write down how they were called; curl, tar and the rest are the real ones, and so is the
protocol of the metadata service.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.imds import INSTANCE_ID, FakeImds

REPOSITORY = Path(__file__).resolve().parents[2]

STAND_IN = r"""#!/bin/bash
# One file under many names: writes down the call, then does the little that the script needs.
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
if [[ " $FAILING " == *" $name "* ]]; then exit 1; fi
case $name in
    aws)
        case "$1 $2" in
            's3 cp') cp "$RELEASE" "${@: -1}" ;;
            's3 sync') mkdir -p "${@: -1}" && touch "${@: -1}/model.bin" ;;
            'autoscaling describe-auto-scaling-instances') echo fleet ;;
            'autoscaling terminate-instance-in-auto-scaling-group')
                [[ $GROUP == yes ]] || exit 255 ;;
        esac ;;
    python3.13 | python)
        case "$*" in
            *'-m venv --without-pip'*)
                if [[ $PYTHON ]]; then exec "$PYTHON" "$@"; fi
                mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
            *'-m venv'*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
            *'pip install'*) cp "$0" "$(dirname "$0")/uv" ;;
            *purelib*) site=$(dirname "$0")/../site; mkdir -p "$site"; echo "$site" ;;
        esac ;;
    nvidia-smi)
        if [[ $1 == --list-gpus ]]; then seq "$GPUS"; fi ;;
    systemd-run) echo "2026-01-01 00:00:00 GPU test ${GPU_RESULT}" >>"${@: -1}"
        [[ $GPU_RESULT == PASSED ]] ;;
    mountpoint) [[ $NVME == yes && ${@: -1} == */nvme ]] ;;
    systemctl)
        case "$*" in
            list-units*) printf '%s' "$OTHERS" ;;
            *is-active*) [[ $MAIN_PID != 0 ]] ;;
            show*MainPID*) echo "$MAIN_PID" ;;
        esac ;;
esac
"""
NAMES = (
    "apt-get",
    "aws",
    "chown",
    "cloud-init",
    "modprobe",
    "mount",
    "mountpoint",
    "nvidia-smi",
    "python3.13",
    "shutdown",
    "systemctl",
    "systemd-run",
    "systemd-sysusers",
    "systemd-tmpfiles",
)


@dataclass
class Machine:
    """A root directory with a release to fetch, and stand-ins for what only an instance has."""

    folder: Path
    imds: FakeImds
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def called(self, beginning: str) -> list[str]:
        return [call for call in self.calls if call.startswith(beginning)]

    def settings(self, name: str) -> Path:
        return self.root / "etc" / "transcription-worker" / name

    @property
    def home(self) -> Path:
        return self.root / "opt" / "transcription-worker"

    @property
    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.home / "releases").iterdir())

    def release(self, name: str, code: str = "") -> None:
        """Make another release the one to fetch; `code` is its `worker/__main__.py`."""
        package = self.folder / name / "worker"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"name = {name!r}\n")
        (package / "__main__.py").write_text(code)
        archive = self.folder / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as release:
            for part in ("config", "scripts"):
                release.add(REPOSITORY / part, part)
            release.add(package, "worker")
        self.environ["RELEASE"] = str(archive)

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", *command],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def boot(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(REPOSITORY / "config" / "user-data.sh"), *arguments, **environ)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in NAMES:
        (commands / name).write_text(STAND_IN)
        (commands / name).chmod(0o755)
    with FakeImds() as imds:
        machine = Machine(tmp_path, imds)
        for folder in ("var/log", "etc/transcription-worker", "etc/modules-load.d", "opt"):
            (machine.root / folder).mkdir(parents=True)
        machine.settings("boot.env").write_text("RELEASE_URI=s3://artifacts/r.tar.gz\n")
        machine.settings("worker.env").write_text("WORKER_MODEL=large-v3\n")
        machine.environ = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "INSTALL_ROOT": str(machine.root),
            "CALLS": str(tmp_path / "calls"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint,
            "NO_PROXY": "127.0.0.1",
            "FAILING": "",
            "GPUS": "1",
            "GPU_RESULT": "PASSED",
            "GROUP": "yes",
            "NVME": "no",
            "OTHERS": "",
            "MAIN_PID": "0",
            "PYTHON": "",
            "LIFECYCLE_POLL_SECONDS": "0",
        }
        machine.release("first")
        yield machine


def test_installs_tests_and_starts(machine: Machine) -> None:
    result = machine.boot()
    assert result.returncode == 0, result.stdout + result.stderr
    assert (machine.root / "etc/systemd/system/transcription-worker.service").is_file()
    assert (machine.root / "etc/logrotate.d/transcription-worker").is_file()
    assert (machine.root / "etc/polkit-1/rules.d/50-transcription-worker.rules").is_file()
    (sync,) = machine.called("uv pip sync")
    assert "--require-hashes" in sync
    assert sync.endswith("config/requirements.lock")
    assert "--compile-bytecode" in sync
    command = machine.home / "current/.venv/bin/transcription-worker"
    assert "from worker.__main__ import main" in command.read_text()
    tested = machine.calls.index(machine.called("systemd-run")[0])
    started = machine.calls.index("systemctl start --no-block transcription-worker.service")
    assert tested < started
    assert "GPU test PASSED" in result.stdout
    assert not machine.called("shutdown")
    # A reboot goes the same way: the instance store is empty or not mounted then.
    again = machine.root / "var/lib/cloud/scripts/per-boot/transcription-worker"
    assert again.resolve().name == "user-data.sh"


def test_user_data_fetches_the_release_and_hands_over(machine: Machine) -> None:
    result = machine.run(str(REPOSITORY / "config" / "fetch-release.sh"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert machine.called("systemctl start")
    assert not machine.called("shutdown")


def test_user_data_that_cannot_fetch_powers_off(machine: Machine) -> None:
    result = machine.run(str(REPOSITORY / "config" / "fetch-release.sh"), FAILING="aws")
    assert result.returncode != 0
    assert machine.calls[-1] == "shutdown -h +10"


def test_second_boot_installs_nothing_anew(machine: Machine) -> None:
    assert machine.boot().returncode == 0
    first = len(machine.called("uv pip sync"))
    result = machine.boot()
    assert result.returncode == 0, result.stdout
    assert len(machine.called("uv pip sync")) == first
    assert "already installed" in result.stdout
    assert len(machine.releases) == 1


def test_a_new_release_shares_the_packages_of_its_lock(machine: Machine) -> None:
    assert machine.boot().returncode == 0
    (first,) = machine.releases
    machine.release("second")
    assert machine.boot().returncode == 0
    assert len(machine.releases) == 2
    assert len(machine.called("uv pip sync")) == 1
    assert (machine.home / "previous").resolve().name == first
    assert "second" in (machine.home / "current/worker/__init__.py").read_text()


@pytest.mark.parametrize("failing", ["uv", "systemd-run"])
def test_an_install_that_breaks_off_leaves_the_release_that_works(
    machine: Machine, failing: str
) -> None:
    assert machine.boot().returncode == 0
    installed = (machine.home / "current").resolve()
    machine.release("second")
    # As with another lock: the packages have to be installed too.
    (packages,) = (machine.home / "venvs").iterdir()
    (packages / "complete").unlink()
    assert machine.boot(FAILING=failing).returncode != 0
    assert (machine.home / "current").resolve() == installed
    assert machine.boot().returncode == 0
    assert (machine.home / "current").resolve() != installed
    assert "first" in (machine.home / "previous/worker/__init__.py").read_text()


def test_half_a_release_is_unpacked_again(machine: Machine) -> None:
    assert machine.boot().returncode == 0
    release = (machine.home / "current").resolve()
    (release / "complete").unlink()
    (release / "worker/__init__.py").write_text("half")
    (release / "worker/stale.py").touch()
    assert machine.boot().returncode == 0
    assert "first" in (release / "worker/__init__.py").read_text()
    assert not (release / "worker/stale.py").exists()


@contextmanager
def running(python: Path) -> Iterator[str]:
    """A process whose first word is this path, as a worker's is; yields its id."""
    process = subprocess.Popen(["/bin/bash", "-c", 'exec -a "$0" sleep 60', str(python)])
    try:
        yield str(process.pid)
    finally:
        process.kill()
        process.wait()


def test_a_worker_of_another_release_is_restarted(machine: Machine) -> None:
    assert machine.boot().returncode == 0
    python = (machine.home / "current").resolve() / ".venv/bin/python"
    with running(python) as pid:
        assert machine.boot(MAIN_PID=pid).returncode == 0
        assert not machine.called("systemctl restart")
        machine.release("second")
        result = machine.boot(MAIN_PID=pid)
    assert result.returncode == 0, result.stdout
    assert machine.called("systemctl restart") == [
        "systemctl restart --no-block transcription-worker.service"
    ]
    # The card is the running worker's, its memory too.
    assert len(machine.called("systemd-run")) == 1
    assert "GPU test: left out" in result.stdout


def test_old_releases_go_once_nothing_runs_from_them(machine: Machine) -> None:
    assert machine.boot().returncode == 0
    first = (machine.home / "current").resolve()
    with running(first / ".venv/bin/python"):
        for name in ("second", "third"):
            machine.release(name)
            assert machine.boot().returncode == 0
        assert first.is_dir()
    stale = machine.home / "venvs" / "of-no-release"
    stale.mkdir()
    assert machine.boot().returncode == 0
    assert not first.exists()
    assert not stale.exists()
    assert {"second", "third"} == {
        (machine.home / link / "worker/__init__.py").read_text().split("'")[1]
        for link in ("previous", "current")
    }


def test_one_command_goes_back(machine: Machine) -> None:
    for arguments in ("--previous", "--previuos"):
        assert machine.boot(arguments).returncode == 2
    assert machine.calls == []
    for name in ("good", "bad"):
        machine.release(name)
        assert machine.boot().returncode == 0
    for name in ("good", "bad"):
        assert machine.boot("--previous").returncode == 0
        assert name in (machine.home / "current/worker/__init__.py").read_text()


STARTS_A_CHILD = """
import subprocess, sys
import worker

def main():
    print(worker.name, flush=True)
    for _ in sys.stdin:
        code = "import worker; print(worker.name, worker.__cached__)"
        subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_children_run_the_code_that_their_worker_runs(machine: Machine) -> None:
    """With a real Python: what the release's own .venv finds, and that it is compiled."""
    machine.release("old", STARTS_A_CHILD)
    assert machine.boot(PYTHON=sys.executable).returncode == 0
    command = machine.home / "current/.venv/bin/transcription-worker"

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [command], stdin=pipe, stdout=pipe, text=True, env={}, cwd=machine.folder
        )

    with start() as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "old\n"
        machine.release("new", STARTS_A_CHILD)
        assert machine.boot(PYTHON=sys.executable).returncode == 0
        name, compiled = worker.communicate("child\n", timeout=30)[0].split()
        assert name == "old"
        # Bytecode that holds whatever a copy does to times: flags 3, a hash that is checked.
        assert Path(compiled).read_bytes()[4:8] == b"\x03\0\0\0"
    with start() as worker:
        assert worker.communicate("", timeout=30)[0] == "new\n"


def test_one_worker_for_each_gpu(machine: Machine) -> None:
    assert machine.boot(GPUS="4").returncode == 0
    (start,) = machine.called("systemctl start")
    assert start.split()[3:] == [f"transcription-worker@{index}.service" for index in range(4)]


def test_a_machine_of_ones_own_is_kept(machine: Machine) -> None:
    release = machine.environ["RELEASE"]
    machine.settings("boot.env").write_text(f"RELEASE_URI={release}\nKEEP=yes\n")
    nowhere = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}
    result = machine.boot(**nowhere)
    assert result.returncode == 0, result.stdout
    assert machine.called("systemctl enable") == ["systemctl enable transcription-worker.service"]
    assert not machine.called("aws")
    assert not (machine.root / "var/lib/cloud/scripts/per-boot/transcription-worker").exists()
    assert machine.boot(FAILING="uv", GPU_RESULT="FAILED: no card").returncode != 0
    assert not machine.called("shutdown")


def test_weights_from_a_bucket(machine: Machine) -> None:
    boot = machine.settings("boot.env")
    boot.write_text(boot.read_text() + "MODEL_URI=s3://models/large-v3/\n")
    for _ in range(2):
        assert machine.boot().returncode == 0
    weights = machine.root / "var/cache/transcription-worker/models/from-bucket"
    assert machine.settings("worker.env").read_text().splitlines() == [
        "WORKER_MODEL=large-v3",
        f"WORKER_MODEL={weights}",
    ]


def test_cache_goes_to_the_instance_store(machine: Machine) -> None:
    assert machine.boot(NVME="yes").returncode == 0
    (mount,) = machine.called("mount --bind")
    assert mount.endswith("var/cache/transcription-worker")
    # Before anything is fetched into it.
    assert machine.calls.index(mount) < machine.calls.index(machine.called("aws s3 cp")[0])


def test_logs_and_metrics_are_shipped_where_there_is_an_agent(machine: Machine) -> None:
    boot = machine.settings("boot.env")
    boot.write_text(boot.read_text() + "LOG_GROUP=/transcription-worker/fleet\n")
    agent = machine.root / "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
    agent.parent.mkdir(parents=True)
    agent.write_text(STAND_IN)
    agent.chmod(0o755)
    assert machine.boot().returncode == 0
    (call,) = machine.called("amazon-cloudwatch-agent-ctl")
    assert "fetch-config" in call
    assert "/transcription-worker/fleet" in machine.settings("cloudwatch-agent.json").read_text()
    units = machine.root / "etc/systemd/system"
    for unit in ("transcription-worker.service.d", "transcription-worker@.service.d"):
        assert "StandardOutput=append:" in (units / unit / "metrics.conf").read_text()


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ({"FAILING": "aws"}, "GIVING UP"),
        ({"FAILING": "uv"}, "GIVING UP"),
        ({"FAILING": "modprobe"}, "modprobe nvidia-uvm"),
        ({"GPU_RESULT": "FAILED: driver too old"}, "GPU test FAILED: driver too old"),
    ],
)
def test_an_instance_that_cannot_work_leaves_the_bill(
    machine: Machine, failing: dict[str, str], said: str
) -> None:
    result = machine.boot(**failing)
    assert result.returncode != 0
    assert said in result.stdout
    assert not machine.called("systemctl start")
    (end,) = machine.called("aws autoscaling terminate-instance-in-auto-scaling-group")
    assert f"--instance-id {INSTANCE_ID}" in end
    # Lowered, or the group would put the next one in its place for ever.
    assert "--should-decrement-desired-capacity" in end


def test_outside_a_group_it_powers_off(machine: Machine) -> None:
    result = machine.boot(GPU_RESULT="FAILED: no card", GROUP="no")
    assert result.returncode != 0
    assert machine.called("shutdown") == ["shutdown -h +10"]


def test_a_boot_without_a_release_says_so(machine: Machine) -> None:
    machine.settings("boot.env").write_text("")
    assert "RELEASE_URI is missing" in machine.boot().stdout


def test_an_image_holds_nothing_of_the_instance(machine: Machine) -> None:
    boot = machine.settings("boot.env")
    boot.write_text(boot.read_text() + "BAKE=yes\n")
    result = machine.boot()
    assert result.returncode == 0, result.stdout
    # The line that config/bake-image.sh looks for in the console.
    assert "image ready, powering off" in result.stdout
    assert machine.called("shutdown") == ["shutdown -h now"]
    assert machine.called("cloud-init") == ["cloud-init clean --logs --machine-id"]
    assert not machine.called("systemctl start")
    assert not list(machine.settings("worker.env").parent.glob("*.env"))
    assert not (machine.root / "var/lib/cloud/scripts/per-boot/transcription-worker").exists()


# --- the end of an instance ---------------------------------------------------------------------


def completed(machine: Machine, **environ: str) -> list[str]:
    result = machine.run(str(REPOSITORY / "config" / "complete-lifecycle.sh"), **environ)
    assert result.returncode == 0, result.stderr
    return machine.called("aws autoscaling complete-lifecycle-action")


def test_the_group_is_notified_that_the_worker_is_gone(machine: Machine) -> None:
    machine.imds["autoscaling/target-lifecycle-state"] = "Terminated"
    (call,) = completed(machine)
    assert f"--instance-id {INSTANCE_ID}" in call
    assert "--auto-scaling-group-name fleet" in call
    assert "--lifecycle-hook-name drain" in call


def test_a_worker_that_only_stops_ends_nothing(machine: Machine) -> None:
    assert completed(machine) == []


def test_a_worker_that_is_restarted_is_not_kept_waiting(machine: Machine) -> None:
    assert completed(machine, SERVICE_RESULT="exit-code", LIFECYCLE_POLL_SECONDS="60") == []


def test_outside_a_group_nothing_is_called(machine: Machine) -> None:
    del machine.imds["autoscaling/target-lifecycle-state"]
    assert completed(machine, LIFECYCLE_POLL_SECONDS="60") == []


def test_outside_ec2_nothing_is_called(machine: Machine) -> None:
    nobody = "http://127.0.0.1:9"
    assert completed(machine, AWS_EC2_METADATA_SERVICE_ENDPOINT=nobody) == []


def test_the_last_of_several_workers_notifies_the_group(machine: Machine) -> None:
    machine.imds["autoscaling/target-lifecycle-state"] = "Terminated"
    two = "transcription-worker@0.service loaded\ntranscription-worker@1.service loaded\n"
    assert completed(machine, OTHERS=two) == []
    assert len(completed(machine, OTHERS="transcription-worker@1.service loaded\n")) == 1
