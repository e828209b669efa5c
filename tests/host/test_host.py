"""The service on a machine: a real systemd, the page's own commands, an operator's day.

Each test is a row of a table, and finds the installed worker ready and idle (`Host.settle`),
whatever the one before it did. Those that end the machine stand last, because booting it takes a
while.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.conftest import REGION, Aws
from tests.host.container import OPERATOR, Container, why_not
from tests.host.host import HOME, LOG, NOWHERE, UNIT, Host, commands, wait_for
from worker.errors import ExitCode
from worker.speech.model.models import packaged_weights
from worker.speech.model.selftest import recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

AGED = "/etc/aged.conf"
"""The service's rules for old files, with a shorter age."""

EXPOSURE = 2.5
"""Of `systemd-analyze security`: 9.6 without any hardening, 10 at worst."""


@pytest.fixture(scope="module")
def installed(aws_server: str) -> Iterator[Host]:
    """A booted machine on which the page's commands have been typed, once."""
    if reason := why_not():
        pytest.skip(reason)
    weights, sample = packaged_weights(), recording()
    if weights is None or sample is None:
        pytest.skip("needs the packaged weights and the recording in pyannote-audio")
    session = boto3.session.Session("testing", "testing", region_name=REGION)
    aws = Aws(
        endpoint=aws_server,
        sqs=session.client("sqs", endpoint_url=aws_server),
        s3=session.client("s3", endpoint_url=aws_server),
    )
    # Not below /tmp, which may be another file system than uv's cache, or memory.
    folder = Path(tempfile.mkdtemp(prefix="transcription-worker-", dir="/var/tmp"))
    container = Container(folder, weights)
    try:
        container.boot()
        host = Host(container, aws)
        host.upload(sample)
        host.copy_checkout()
        host.install()
        yield host
    finally:
        container.close()


@pytest.fixture
def host(installed: Host) -> Host:
    """The machine, with the worker ready and idle."""
    installed.forget()
    installed.settle()
    return installed


# --- installed, and at work -----------------------------------------------------------------------


def test_the_page_s_commands_install_it(installed: Host) -> None:
    assert "packages: installed" in installed.said
    assert "workers starting: 1" in installed.said
    installed.wait_ready()
    # What is there already is left alone.
    again = installed.typed("sudo config/user-data.sh")
    assert "packages: already installed" in again
    assert "on another release" not in again


def test_systemd_finds_nothing_wrong_and_little_exposed(host: Host) -> None:
    units = [f"/etc/systemd/system/transcription-worker{end}.service" for end in ("", "@")]
    done = host.container.call("systemd-analyze", "verify", "--man=no", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    overall = host.container.run("systemd-analyze", "security", "--no-pager", UNIT)
    (score,) = re.findall(r"exposure level for \S+: ([\d.]+)", overall)
    assert float(score) <= EXPOSURE


def test_ready_is_said_after_the_model_is_loaded(host: Host) -> None:
    host.container.run("systemctl", "restart", "--no-block", UNIT)
    wait_for(lambda: host.show("ActiveState") == "activating", 60, host.last_words)
    assert not host.events("worker.ready")[1:2] or host.health() != "ok"
    host.wait_ready()
    assert host.show("StatusText").startswith("running: 0 messages")
    assert host.health() == "ok"


def test_jobs_are_done_in_the_sandbox(host: Host) -> None:
    assert host.show("DevicePolicy") == "closed"
    host.wait_done(host.send(2))
    assert host.health() == "ok"


def test_an_operator_reads_the_log_and_a_stranger_does_not(host: Host) -> None:
    assert "worker.ready" in host.container.run("cat", LOG, user=OPERATOR)
    assert host.container.call("cat", LOG, user="nobody").returncode != 0


def test_folders_are_private(host: Host) -> None:
    folders = [f"/var/{kind}/transcription-worker" for kind in ("cache", "lib")]
    assert host.container.run("stat", "--format=%a %U", *folders).splitlines() == [
        "750 transcription",
        "750 transcription",
    ]


def test_nothing_of_a_library_s_telemetry_is_written(host: Host) -> None:
    host.wait_done(host.send())
    everywhere = ["find", "/var", "/tmp", "/run", "-user", "transcription"]  # noqa: S108
    written = host.container.run(*everywhere, "-iname", "*onnx*").splitlines()
    assert written == []


def test_a_start_compiles_nothing(host: Host) -> None:
    """The worker's user can't write bytecode: what isn't compiled is compiled at every start."""
    imports = (
        "import worker.cli.app, worker.daemon.compose, worker.speech.engine.engine, whisperx.asr"
    )
    python = f"{HOME}/current/.venv/bin/python"
    done = host.container.call(python, "-v", "-c", imports, user="transcription")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (done.stdout + done.stderr).splitlines()
    assert sum("code object from" in line for line in lines) > 1000, lines[-20:]
    from_source = [line for line in lines if re.search(r"code object from .*\.py'?\r?$", line)]
    assert [line for line in from_source if HOME in line] == []


def test_check_shows_the_service_s_settings(host: Host) -> None:
    (command,) = commands("check --unit")
    # Wide enough for paths: there is no terminal here to ask.
    shown = host.typed(command.replace("sudo ", "sudo COLUMNS=200 "))
    assert re.search(r"model +/srv/model +environment variable WORKER_MODEL", shown)
    assert "/var/cache/transcription-worker/work" in shown
    assert "/var/log/transcription-worker/worker.log" in shown


# --- what a machine does to it by itself ----------------------------------------------------------


def test_both_sides_of_a_rotation_are_kept(host: Host) -> None:
    before = host.send()
    host.wait_done(before)
    host.container.run(
        "logrotate", "--force", "--state", "/run/rotation", "/etc/logrotate.d/transcription-worker"
    )
    after = host.send()
    host.wait_done(after)
    (line,) = host.events("job.completed")
    assert f"job_id={after[0]}" in line
    files = host.container.run(
        "bash", "-c", f"grep -l job_id={before[0]} /var/log/transcription-worker/*"
    )
    assert files.splitlines() != ["/var/log/transcription-worker/worker.log"]
    assert "worker.ready" not in host.log()
    assert f"job_id={after[0]}" in host.container.run("cat", LOG, user=OPERATOR)


def test_systemd_tmpfiles_leaves_the_live_worker_s_folder(host: Host) -> None:
    rules = host.container.path("/usr/lib/tmpfiles.d/transcription-worker.conf").read_text()
    host.container.write(AGED, re.sub(r"\b\d+[dh]$", "1s", rules, flags=re.MULTILINE))
    stale = "/var/cache/transcription-worker/work/of-a-dead-worker"
    host.container.run("mkdir", stale)
    host.container.run("sleep", "3")
    host.container.run("systemd-tmpfiles", "--clean", AGED)
    assert host.container.call("test", "-e", stale).returncode != 0, "nothing was aged"
    host.wait_done(host.send())
    assert host.health() == "ok"


def test_the_watchdog_restarts_a_worker_that_hangs(host: Host) -> None:
    host.drop_in("[Service]\nWatchdogSec=10\nRestartSec=1\n")
    host.container.run("systemctl", "restart", UNIT)
    host.wait_ready()
    before = int(host.show("NRestarts"))
    host.signal("STOP", host.main_pid)
    host.wait_restart(before)


def test_a_killed_worker_is_started_again(host: Host) -> None:
    host.drop_in("[Service]\nRestartSec=1\n")
    before = int(host.show("NRestarts"))
    host.signal("KILL", host.main_pid)
    host.wait_restart(before)
    host.wait_done(host.send())


# --- a new release --------------------------------------------------------------------------------


def test_a_new_release_reaches_the_worker_and_loses_no_job(host: Host) -> None:
    old = host.release_of(host.main_pid)
    jobs = host.send(3)
    host.wait_taken()
    host.typed("echo '# another release' >>worker/__init__.py")
    said = host.new_release()
    assert "packages: already installed" in said
    new = host.current()
    assert new != old
    wait_for(lambda: host.release_of(host.main_pid) == new, 200, host.last_words)
    host.wait_ready()
    host.wait_done(jobs)
    assert host.container.call("test", "-d", old).returncode == 0
    assert host.events("job.failed") == []


def test_children_run_the_code_of_their_worker(host: Host) -> None:
    """Whatever `current` names by then."""
    host.wait_done(host.send())  # children that are still coming up may not be killed
    worker = host.main_pid
    release = host.release_of(worker)
    other = host.container.run("readlink", "--canonicalize", f"{HOME}/previous")
    assert other != release
    try:
        host.container.run("ln", "-sfn", other, f"{HOME}/current")
        before = set(host.children())
        for child in before:
            host.signal("KILL", child)
        host.wait_done(host.send())
        assert host.main_pid == worker, host.last_words()
        anew = set(host.children()) - before
        assert anew, "no child was started"
        assert {host.release_of(child) for child in anew} == {release}
    finally:
        host.container.run("ln", "-sfn", release, f"{HOME}/current")


def test_one_command_goes_back(host: Host) -> None:
    old = host.release_of(host.main_pid)
    (command,) = commands("--previous")
    said = host.typed(command)
    assert "on another release" in said
    assert host.current() != old
    wait_for(lambda: host.release_of(host.main_pid) == host.current(), 200, host.last_words)
    host.wait_ready()
    host.wait_done(host.send())


def test_half_a_release_changes_nothing(host: Host) -> None:
    before = host.current()
    host.typed(
        "echo '# a third one' >>worker/__init__.py && ./scripts/make-release.sh --output /tmp/whole"
    )
    host.typed("head --bytes=100000 /tmp/whole >/tmp/release.tar.gz")
    done = host.type("sudo config/user-data.sh")
    assert done.returncode != 0
    assert "GIVING UP" in done.stdout
    assert host.current() == host.release_of(host.main_pid) == before
    host.typed("cp /tmp/whole /tmp/release.tar.gz && sudo config/user-data.sh")
    assert host.current() != before


# --- how it ends ----------------------------------------------------------------------------------


def test_a_stop_drains_and_the_next_start_does_the_rest(host: Host) -> None:
    jobs = host.send(6)
    host.wait_taken()
    host.stop()
    assert host.state() == ("inactive", "success", ExitCode.OK)
    assert host.left() == len(host.missing(jobs))
    host.start()
    host.wait_done(jobs)


def test_a_drain_that_can_not_finish_gives_its_jobs_back(host: Host) -> None:
    """A batch that takes longer than the drain may, even to be let go of."""
    # What is ready by the end of the first batch is the second, which takes one processor minutes.
    host.set(WORKER_DRAIN_TIMEOUT="1", WORKER_BATCH_SIZE="64", WORKER_BEAM_SIZE="20")
    host.drop_in("[Service]\nCPUAffinity=0\n")
    host.container.run("systemctl", "restart", UNIT)
    before = len(host.events("batch.completed"))
    jobs = host.send(40)
    wait_for(lambda: len(host.events("batch.completed")) > before, 300, host.last_words)
    host.stop()
    assert host.state() == ("inactive", "success", ExitCode.OK), host.last_words()
    assert host.events("engine.abandoned"), f"the batch was over in time\n{host.last_words()}"
    assert host.left() == len(host.missing(jobs)) > 0
    host.settle()
    host.wait_done(jobs, 600)


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"WORKER_BATCH_SIZE": "many"}, ExitCode.SETTINGS, "batch_size = 'many'"),
        ({"WORKER_DEVICE": "cuda"}, ExitCode.MACHINE, "cuda"),
    ],
)
def test_what_a_restart_does_not_mend_stays_down_and_says_why(
    host: Host, settings: dict[str, str], code: ExitCode, said: str
) -> None:
    host.set(**settings)
    host.stop()
    host.start()
    host.wait_state("failed", 60)
    host.container.run("sleep", "12")  # longer than RestartSec=
    assert host.state() == ("failed", "exit-code", code)
    assert said in host.container.run("tail", "--lines=1", LOG, user=OPERATOR)


def test_after_five_failures_it_is_given_up_until_somebody_resets_it(host: Host) -> None:
    host.set(AWS_ENDPOINT_URL=NOWHERE)
    host.drop_in("[Service]\nRestartSec=1\n")
    host.stop()
    host.start()
    wait_for(lambda: host.state()[2] == ExitCode.FAILURE, 120, host.last_words)
    wait_for(lambda: int(host.show("NRestarts")) > 0, 120, host.last_words)
    host.wait_state("failed", 240)
    assert host.container.call("systemctl", "start", UNIT).returncode != 0
    host.set()
    for command in commands("reset-failed"):
        host.typed(command)
    host.wait_ready()


# --- how the machine ends -------------------------------------------------------------------------


def test_after_a_reboot_it_works_and_idleness_powers_the_machine_off(host: Host) -> None:
    host.set(WORKER_ON_IDLE="poweroff", WORKER_IDLE_TIMEOUT="5")
    host.container.call("systemctl", "poweroff")
    assert host.container.wait_until_off(120)
    jobs = host.send(2)
    host.container.boot()
    assert host.container.wait_until_off(300), host.last_words()
    assert host.missing(jobs) == []
    assert host.left() == 0


def test_a_power_off_that_is_inhibited_is_tried_again(host: Host) -> None:
    """An upgrade by apt holds such a lock as long as it runs."""
    host.container.run(
        "systemd-run", "--unit=upgrade", "systemd-inhibit", "--what=shutdown", "--mode=block",
        "sleep", "infinity",
    )  # fmt: skip
    host.set(WORKER_ON_IDLE="poweroff", WORKER_IDLE_TIMEOUT="2")
    host.container.run("systemctl", "restart", UNIT)
    assert not host.container.wait_until_off(25)
    assert host.show("ActiveState") == "active", host.last_words()
    host.container.run("systemctl", "stop", "upgrade")
    assert host.container.wait_until_off(180), host.last_words()
