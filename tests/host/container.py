"""A Debian of its own with systemd as its process 1: real units, logind, polkit, tmpfiles.

systemd-nspawn boots it in namespaces; it shares this machine's kernel and network, and nothing of
this machine's systemd. What its kernel can't give inside (limits of memory) is not tested in it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["AUTHORITIES", "OPERATOR", "Container", "tool", "why_not"]

SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,polkitd,logrotate,"  # the host
    "python3,python3-venv,curl,ca-certificates,sudo"  # what the page says it needs, without a card
)
CACHE = Path("/var/tmp/transcription-worker-host")  # noqa: S108  # read and written by root alone
"""Keeps the unpacked Debian from one run to the next: 110 MB, a minute to make."""

OPERATOR = "ops"
"""A person's account, as a cloud image's first user is: member of adm, may use sudo."""

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
BOOT_SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str | None:
    """What is missing for booting a container here, in a sentence; None if nothing is."""
    if os.geteuid() != 0:
        return "needs root, to boot a container with systemd-nspawn"
    for program in ("systemd-nspawn", "debootstrap", "nsenter", "git"):
        if not shutil.which(program):
            return f"needs {program} (packages systemd-container, debootstrap, util-linux, git)"
    return None


def tool(name: str) -> str:
    """A program's path; `why_not` has seen that it is there."""
    path = shutil.which(name)
    assert path, f"there is no {name}"
    return path


def base_system() -> Path:
    """A tar file of a freshly installed Debian; skips the test where none can be had."""
    archive = CACHE / f"{SUITE}.tar.gz"
    if archive.exists():
        return archive
    CACHE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root, unfinished = Path(folder, "root"), Path(folder, archive.name)
        options = ["--variant=minbase", f"--include={PACKAGES}"]
        made = subprocess.run(
            [tool("debootstrap"), *options, SUITE, str(root), *_mirror()],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"needs a mirror of Debian: {made.stdout.strip().splitlines()[-1]}")
        pack = [tool("tar"), "--create", "--gzip", "--exclude=*.deb", f"--directory={root}"]
        subprocess.run([*pack, f"--file={unfinished}", "."], check=True)
        unfinished.rename(archive)
    return archive


def _mirror() -> list[str]:
    """Where this machine itself gets packages from, if it is a Debian; else debootstrap's own."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = sources.read_text().splitlines() if sources.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]


class Container:
    """One system: unpacked, booted, commanded, powered off, removed.

    Args:
        folder: an empty folder for it, on the file system of uv's cache.
        model: a folder of weights, seen inside as `/srv/model`.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.root = folder / "root"
        self._console = folder / "console.log"
        self._model = model
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self.root.mkdir()
        unpack = [tool("tar"), "--extract", f"--file={base_system()}", f"--directory={self.root}"]
        subprocess.run(unpack, check=True)
        self._take_over_packages()
        self.write("/etc/hostname", "worker-host\n")
        self.write("/etc/hosts", "127.0.0.1 localhost worker-host\n")
        add = ["useradd", "--create-home", "--shell", "/bin/bash", "--groups", "adm,sudo", OPERATOR]
        subprocess.run([tool("chroot"), self.root, *add], check=True)
        self.write("/etc/sudoers.d/operator", f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")

    def _take_over_packages(self) -> None:
        """Packages come from where this machine gets them, and cost neither time nor disk.

        uv links files from its cache into an environment if both lie on one file system.
        """
        for name in ("/etc/pip.conf", "/etc/uv/uv.toml", "/etc/resolv.conf"):
            if Path(name).exists():
                self.write(name, Path(name).read_text())
        authorities = Path(os.environ.get("SSL_CERT_FILE") or AUTHORITIES)
        if authorities.exists():
            self.write(AUTHORITIES, authorities.read_text())
        cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
        if cache.is_dir() and cache.stat().st_dev == self.root.stat().st_dev:
            inside = self.root / "root" / ".cache" / "uv"
            shutil.copytree(cache, inside, symlinks=True, copy_function=os.link)

    def path(self, inside: str) -> Path:
        """A path of the container as this machine sees it."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        """Write a file of the container, as root, whatever was there."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)

    @property
    def is_on(self) -> bool:
        """Whether it runs: False from the end of its power-off on."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def boot(self) -> None:
        """Start it; returns when its start-up is over, failed units or not."""
        command = [
            tool("systemd-nspawn"),
            f"--directory={self.root}",
            f"--machine=transcription-worker-{os.getpid()}",
            "--register=no",  # this machine's systemd, where there is one, hears nothing of it
            "--keep-unit",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=pipe",
            "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON",  # DevicePolicy= is a BPF program
            f"--bind-ro={self._model}:/srv/model",
            "--boot",
        ]
        # Without SECCOMP=0 nspawn's own filter forbids those that units set.
        own = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_SECCOMP": "0"}
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                command,
                env=dict(os.environ) | own,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._leader = 0
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._has_started():
            late = time.monotonic() > deadline
            assert not late, f"it does not boot\n{self._console.read_text()[-2000:]}"
            time.sleep(0.2)

    def _has_started(self) -> bool:
        self._leader = self._leader or self._find_leader()
        if not self._leader:
            return False
        asked = self.call("systemctl", "is-system-running", "--wait")
        return asked.stdout.strip() in ("running", "degraded")

    def _find_leader(self) -> int:
        """The container's process 1, by its id on this machine; 0 as long as there is none."""
        assert self._nspawn
        pid = self._nspawn.pid
        try:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                status = Path(f"/proc/{child}/status").read_text()
                (ids,) = (line for line in status.splitlines() if line.startswith("NSpid:"))
                if (
                    ids.split()[-1] == "1"
                    and Path(f"/proc/{child}/comm").read_text() == "systemd\n"
                ):
                    return int(child)
        except FileNotFoundError:
            pass  # it ended while it was looked at
        return 0

    def call(
        self,
        *command: str,
        user: str = "root",
        cwd: str = "/",
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with its own environment alone; any exit code."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8"} | dict(environ or {})
        become = [] if user == "root" else ["runuser", "--user", user, "--"]
        return subprocess.run(
            [
                *(
                    tool("nsenter"),
                    "--target",
                    str(self._leader),
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--net",
                ),
                *("--pid", "--cgroup", "--", "env", "--ignore-environment", f"--chdir={cwd}"),
                *(f"{name}={value}" for name, value in variables.items()),
                *become,
                *command,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *command: str, user: str = "root", cwd: str = "/") -> str:
        """What a command inside prints; fails the test if the command fails."""
        done = self.call(*command, user=user, cwd=cwd)
        assert done.returncode == 0, (
            f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout.strip()

    def wait_until_off(self, seconds: float) -> bool:
        """Whether it powers itself off within that time."""
        deadline = time.monotonic() + seconds
        while self.is_on and time.monotonic() < deadline:
            time.sleep(0.5)
        return not self.is_on

    def close(self) -> None:
        """End it whatever it does, and remove its files."""
        if self._nspawn is not None:
            if self.is_on and self._leader:
                os.kill(self._leader, signal.SIGKILL)  # and with it every process inside
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        mounted = [
            line for line in Path("/proc/mounts").read_text().split() if str(self.root) in line
        ]
        assert not mounted, "still mounted: nothing is removed"
        # Half a million files and links: twice as fast as shutil.rmtree.
        subprocess.run([tool("rm"), "--recursive", "--force", self.root.parent], check=True)
