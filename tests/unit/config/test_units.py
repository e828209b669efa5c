"""The systemd units: what systemd says of them, and what a GPU worker needs them to say."""

from __future__ import annotations

import grp
import json
import os
import re
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from worker.errors import ExitCode
from worker.pipeline.workdir import WorkDir
from worker.settings import Settings

SINGLE = "transcription-worker.service"
PER_GPU = "transcription-worker@.service"


def directives(path: Path) -> dict[str, list[str]]:
    """`Name` -> its values in order; comments and sections left out."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture(params=[SINGLE, PER_GPU])
def unit(request: pytest.FixtureRequest, config_dir: Path) -> dict[str, list[str]]:
    return directives(config_dir / request.param)


def tool(name: str) -> str:
    """The program's path; the test is skipped where there is none."""
    if not (path := shutil.which(name)):
        pytest.skip(f"needs {name}")
    return path


def verify(source: Path, folder: Path, *, extra: str = "") -> subprocess.CompletedProcess[str]:
    """systemd-analyze on a copy whose programs exist: they are not installed where tests run."""
    text = source.read_text()
    for program in set(re.findall(r"^Exec\w+=[-+@!:]*(/\S+)", text, flags=re.MULTILINE)):
        stand_in = folder / program.lstrip("/")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text("#!/bin/sh\n")
        stand_in.chmod(0o755)
        text = text.replace(program, str(stand_in))
    name = source.name.replace("@.", "@0.")
    copy = folder / name
    copy.write_text(text.replace("[Service]\n", f"[Service]\n{extra}", 1))
    return subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", [SINGLE, PER_GPU])
def test_systemd_finds_nothing_wrong(name: str, config_dir: Path, tmp_path: Path) -> None:
    result = verify(config_dir / name, tmp_path)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_systemd_would_have_said_so(config_dir: Path, tmp_path: Path) -> None:
    result = verify(config_dir / SINGLE, tmp_path, extra="ProtectEverything=yes\n")
    assert "ProtectEverything" in result.stderr


@pytest.mark.parametrize("name", [SINGLE, PER_GPU])
def test_hardening_leaves_little_exposed(name: str, config_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / name.replace("@.", "@0.")
    copy.write_text((config_dir / name).read_text())
    result = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=yes", "--threshold=25", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in result.stderr:
        pytest.skip("needs systemd 250 or newer")
    # Without any hardening systemd says 9.6; the GPU and the network are what is left.
    assert result.returncode == 0, result.stdout[-200:] + result.stderr


def test_a_gpu_works_under_it(unit: dict[str, list[str]]) -> None:
    for forbidden in ("PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset", "PrivateUsers"):
        assert forbidden not in unit
    assert unit["DevicePolicy"] == ["closed"]
    allowed = {value.split()[0] for value in unit["DeviceAllow"]}
    assert {"char-nvidia", "char-nvidia-frontend", "char-nvidiactl", "char-nvidia-uvm"} <= allowed


def test_readiness_and_watchdog_come_from_the_worker(unit: dict[str, list[str]]) -> None:
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert int(unit["WatchdogSec"][0]) > 0


def test_stopping_waits_for_the_drain(unit: dict[str, list[str]]) -> None:
    drain = Settings.model_fields["drain_timeout"].default
    assert int(unit["TimeoutStopSec"][0]) > drain + 30
    # SIGTERM to the decoders would end what the drain is finishing.
    assert unit["KillMode"] == ["mixed"]


def test_only_what_a_restart_mends_is_restarted(unit: dict[str, list[str]]) -> None:
    assert unit["Restart"] == ["on-failure"]
    assert {int(code) for code in unit["RestartPreventExitStatus"][0].split()} == {
        ExitCode.SETTINGS,
        ExitCode.MACHINE,
    }


def test_runs_as_its_own_user_who_exists(unit: dict[str, list[str]], config_dir: Path) -> None:
    (user,) = unit["User"]
    assert user != "root"
    assert re.search(
        rf"^u {user} ", (config_dir / "transcription-worker.sysusers.conf").read_text(), re.M
    )


def test_the_log_can_be_renamed_and_made_anew(unit: dict[str, list[str]], config_dir: Path) -> None:
    """A bind mount on the file alone would stay with the renamed file."""
    (directory,) = unit["LogsDirectory"]
    (log_file,) = [
        value.removeprefix("WORKER_LOG_FILE=")
        for value in unit["Environment"]
        if value.startswith("WORKER_LOG_FILE=")
    ]
    assert Path(log_file).parent == Path("/var/log") / directory
    assert "ReadWritePaths" not in unit
    rotation = (config_dir / "transcription-worker.logrotate").read_text()
    first, _, _ = rotation.partition("}")
    assert f"/var/log/{directory}/*.log" in first
    # With `create` logrotate and the worker would both make the new file.
    assert {"nocreate", "delaycompress", f"su {unit['User'][0]} {unit['Group'][0]}"} <= {
        line.strip() for line in first.splitlines()
    }


def test_only_the_log_s_folder_is_open_to_others(unit: dict[str, list[str]]) -> None:
    """At each start systemd gives the folders the modes that the unit says, whatever they had."""
    assert unit["StateDirectoryMode"] == unit["CacheDirectoryMode"] == ["0750"]
    assert unit["LogsDirectoryMode"] == ["0755"]


def test_operators_find_the_log_under_its_usual_name(config_dir: Path) -> None:
    rules = (config_dir / "transcription-worker.tmpfiles.conf").read_text()
    link = next(line.split() for line in rules.splitlines() if line.startswith("L+"))
    assert link[1] == "/var/log/transcription-worker.log"
    (log_file,) = [
        value.removeprefix("WORKER_LOG_FILE=")
        for value in directives(config_dir / SINGLE)["Environment"]
        if value.startswith("WORKER_LOG_FILE=")
    ]
    assert Path("/var/log") / link[-1] == Path(log_file)


def test_tmpfiles_makes_what_it_says(config_dir: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.conf"
    # The user exists only where the service is installed.
    rules.write_text(
        (config_dir / "transcription-worker.tmpfiles.conf")
        .read_text()
        .replace("transcription transcription", "- -")
    )
    root = tmp_path / "root"
    (root / "var" / "log").mkdir(parents=True)
    result = subprocess.run(
        [tool("systemd-tmpfiles"), "--create", f"--root={root}", str(rules)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    link = root / "var" / "log" / "transcription-worker.log"
    link.write_text("a line\n")
    assert (root / "var/log/transcription-worker/worker.log").read_text() == "a line\n"
    assert (root / "var/cache/transcription-worker/models").is_dir()
    # Operators read the log without sudo: what is made in its folder is group adm's to read.
    assert (GROUP, READ, grp.getgrnam("adm").gr_gid) in access(link.resolve())


GROUP, READ = 0x08, 4
"""Of an access list's entry: it is for a named group; it may read (linux/posix_acl.h)."""


def access(path: Path) -> list[tuple[int, int, int]]:
    """Tag, permissions and id of each entry of an access list, after its head of 4 bytes."""
    return list(struct.iter_unpack("<HHI", os.getxattr(path, "system.posix_acl_access")[4:]))


def test_tmpfiles_clears_after_the_dead_and_spares_the_living(
    config_dir: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.conf"
    text = (config_dir / "transcription-worker.tmpfiles.conf").read_text()
    rules.write_text(
        re.sub(r" 1d$", " 200ms", text, flags=re.MULTILINE).replace(
            "transcription transcription", "- -"
        )
    )
    cache = tmp_path / "root" / "var" / "cache" / "transcription-worker"
    left = cache / "work-1" / "transcription-worker-0" / "1-dead" / "1" / "input"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"speech")
    living = WorkDir(cache / "work-0")
    time.sleep(0.3)
    subprocess.run(
        [tool("systemd-tmpfiles"), "--clean", f"--root={tmp_path / 'root'}", str(rules)],
        timeout=60,
        check=True,
    )
    assert list((cache / "work-1").iterdir()) == []
    with capture_logs() as events:
        assert living.new().is_dir()
    assert events == [], "it had not to be made again"
    living.close()


def test_one_worker_per_gpu(config_dir: Path) -> None:
    unit = directives(config_dir / PER_GPU)
    assert "CUDA_VISIBLE_DEVICES=%i" in unit["Environment"]
    # The first idle worker must not end the machine under the others.
    assert unit["UnsetEnvironment"] == ["WORKER_ON_IDLE"]
    for name in ("WORKER_WORK_DIR", "WORKER_LOG_FILE"):
        (value,) = [v for v in unit["Environment"] if v.startswith(f"{name}=")]
        assert "%i" in value, f"{name} would be shared between workers"


def test_the_two_units_differ_only_in_what_is_per_gpu(config_dir: Path) -> None:
    single, per_gpu = directives(config_dir / SINGLE), directives(config_dir / PER_GPU)
    different = {
        name for name in single.keys() | per_gpu.keys() if single.get(name) != per_gpu.get(name)
    }
    assert different == {
        "Description",
        "Environment",
        "EnvironmentFile",
        "UnsetEnvironment",
        "ExecStartPre",
        "CacheDirectory",
    }


def test_variables_of_the_units_are_settings(unit: dict[str, list[str]]) -> None:
    names = [value.partition("=")[0] for value in unit["Environment"]]
    worker = {name.removeprefix("WORKER_").lower() for name in names if name.startswith("WORKER_")}
    assert worker
    assert worker <= set(Settings.model_fields)


ASK_POLKIT = """
const rules = [];
global.polkit = {
    Result: {YES: "yes", NOT_HANDLED: "not handled", NO: "no"},
    addRule: function (rule) { rules.push(rule); },
};
require(process.argv[1]);
const cases = JSON.parse(process.argv[2]);
console.log(JSON.stringify(cases.map(function (c) { return rules[0]({id: c[0]}, {user: c[1]}); })));
"""


def test_polkit_lets_the_user_power_off_and_no_more(config_dir: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.js"
    rules.write_text((config_dir / "transcription-worker.polkit.rules").read_text())
    login1 = "org.freedesktop.login1"
    cases = [
        (f"{login1}.power-off", "transcription"),
        (f"{login1}.power-off-multiple-sessions", "transcription"),
        (f"{login1}.power-off-ignore-inhibit", "transcription"),
        (f"{login1}.reboot", "transcription"),
        ("org.freedesktop.systemd1.manage-units", "transcription"),
        (f"{login1}.power-off", "somebody"),
    ]
    result = subprocess.run(
        [tool("node"), "-e", ASK_POLKIT, str(rules), json.dumps(cases)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout) == ["yes"] * 3 + ["not handled"] * 3
