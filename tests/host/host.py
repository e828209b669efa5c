"""The installed worker in a booted container, with its queue and its bucket.

Installs it with the page's own commands, as the operator would, and puts the service into a known
state before each test.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.conftest import REPOSITORY, Aws, aws_variables
from tests.host.container import AUTHORITIES, OPERATOR, Container, tool
from tests.pages import Kind, blocks

__all__ = ["HOME", "LOG", "NOWHERE", "UNIT", "Host", "commands", "wait_for"]

UNIT = "transcription-worker.service"
HOME = "/opt/transcription-worker"
LOG = "/var/log/transcription-worker.log"
SETTINGS = "/etc/transcription-worker/worker.env"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/test.conf"
CHECKOUT = f"/home/{OPERATOR}/checkout"

READY_SECONDS = 300
JOB_SECONDS = 180
NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers: no metadata service, or no queue."""


def wait_for(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    """Wait until it is true; fails with what `what` says by then, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s: {what()}"
        time.sleep(0.3)


def commands(*parts: str) -> list[str]:
    """The lines of the one block of config/README.md in which all of these parts are typed."""
    typed = [block.text for block in blocks("config/README.md") if block.kind == Kind.TYPED]
    (found,) = (text for text in typed if all(part in text for part in parts))
    return found.splitlines()


class Host:
    """The machine of an operator.

    Args:
        container: not yet booted.
        aws: the protocol server; the container shares this machine's loopback.

    Attributes:
        said: what the installation printed.
    """

    def __init__(self, container: Container, aws: Aws) -> None:
        self.container = container
        self._aws = aws
        self._queue = aws.make_queues("jobs").url
        self._bucket = aws.make_bucket("recordings")
        self._results = aws.make_bucket("results")
        self._sent = 0
        self.said = ""
        self._changed = True
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        endpoint = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": NOWHERE}
        self._settings = {
            name: value for name, value in aws_variables(aws.endpoint).items() if "FILE" not in name
        }
        self._settings |= endpoint | {
            "WORKER_QUEUE_URL": self._queue,
            "WORKER_OUTPUT": f"s3://{self._results}/t/",
            "WORKER_MODEL": "/srv/model",
            "WORKER_DEVICE": "cpu",
            "WORKER_WORD_TIMES": "attention",
            "WORKER_METRICS_PORT": str(self._port),
            "WORKER_ON_IDLE": "exit",
            "WORKER_IDLE_TIMEOUT": "3600",
            "HF_HUB_OFFLINE": "1",
        }
        # uv has authorities of its own unless it is told; this machine's mirror may have another.
        self._operator = endpoint | {"SSL_CERT_FILE": AUTHORITIES}
        kept = " ".join(self._operator)
        container.write("/etc/sudoers.d/environment", f'Defaults env_keep += "{kept}"\n')

    # --- as the operator --------------------------------------------------------------------

    def copy_checkout(self) -> None:
        """Put this checkout, as it is now, into the operator's home."""
        listed = subprocess.run(
            [tool("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.split("\0"):
            source, target = REPOSITORY / name, self.container.path(CHECKOUT) / name
            if source.is_file() and not source.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        self.container.run("chown", "--recursive", f"{OPERATOR}:{OPERATOR}", CHECKOUT)

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """One line as the operator types it, in the checkout; any exit code."""
        return self.container.call(
            "bash", "-c", command, user=OPERATOR, cwd=CHECKOUT, environ=self._operator
        )

    def typed(self, command: str) -> str:
        """What that line prints, errors too; fails the test if it fails."""
        done = self.type(command)
        assert done.returncode == 0, (
            f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    def install(self) -> None:
        """The page's commands for a machine without a GPU, in its order; `said` by the last."""
        *first, last = commands("make-release.sh --output", "worker.env")
        for command in first:
            self.typed(command)
        self.typed(f"sudo chmod 0644 {SETTINGS}")  # `then edit it`
        self.set()
        for command in commands("GPU_TEST=no"):
            self.typed(command)
        self.said = self.typed(last)

    def new_release(self) -> str:
        """The page's commands for a new release; what the last one said."""
        make, install = commands("release.tar.gz\nsudo config/user-data.sh")
        self.typed(make)
        return self.typed(install)

    # --- the service ------------------------------------------------------------------------

    def set(self, **changes: str) -> None:
        """Write the settings file: those of every test, and these."""
        lines = (f"{name}={value}\n" for name, value in (self._settings | changes).items())
        self.container.write(SETTINGS, "".join(lines))
        self._changed = True

    def drop_in(self, text: str) -> None:
        """Change the unit until `settle` is called."""
        self.container.write(DROP_IN, text)
        self.container.run("systemctl", "daemon-reload")
        self._changed = True

    def settle(self) -> None:
        """On, as installed, and the worker ready."""
        if self._changed or not self.container.is_on:
            self.set()
            self.container.path(DROP_IN).unlink(missing_ok=True)
            if not self.container.is_on:
                self.container.boot()
            self.container.run("systemctl", "daemon-reload")
            self.container.call("systemctl", "reset-failed", UNIT)
            self.container.run("systemctl", "stop", UNIT)
        self.start()
        self.wait_ready()
        self._changed = False

    def start(self) -> None:
        """Ask for a start, whatever becomes of it."""
        self.container.call("systemctl", "start", "--no-block", UNIT)

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""
        self.container.run("systemctl", "stop", UNIT)
        self._changed = True

    def show(self, name: str) -> str:
        """A property of the unit, as systemd shows it."""
        return self.container.run("systemctl", "show", f"--property={name}", "--value", UNIT)

    def state(self) -> tuple[str, str, int]:
        """Its state, its result and the exit code of its last process."""
        return self.show("ActiveState"), self.show("Result"), int(self.show("ExecMainStatus"))

    def wait_state(self, state: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the unit is in this state."""
        wait_for(
            lambda: self.show("ActiveState") == state,
            seconds,
            lambda: f"{self.state()}, not {state}\n{self.last_words()}",
        )

    def wait_ready(self) -> None:
        """Wait until systemd has heard that the worker is ready."""
        self.wait_state("active")

    def wait_restart(self, before: int) -> None:
        """Wait until systemd has started it again by itself, and it is ready."""
        wait_for(lambda: int(self.show("NRestarts")) > before, 120, self.last_words)
        self.wait_ready()

    @property
    def main_pid(self) -> str:
        """The worker's process id inside."""
        return self.show("MainPID")

    def release_of(self, pid: str) -> str:
        """The folder that a process's Python stands in: its release; empty where it is gone."""
        line = self.container.call("cat", f"/proc/{pid}/cmdline").stdout
        return line.split("\0")[0].partition("/.venv/")[0]

    def signal(self, name: str, pid: str) -> None:
        """Send a process a signal."""
        self.container.run("bash", "-c", f"kill -{name} {pid}")

    def current(self) -> str:
        """The folder that the next start will run from."""
        return self.container.run("readlink", "--canonicalize", f"{HOME}/current")

    def children(self) -> list[str]:
        """Ids of the worker's child processes, whichever of its threads started them."""
        files = f"cat /proc/{self.main_pid}/task/*/children"
        return self.container.run("bash", "-c", files).split()

    def log(self) -> str:
        """The worker's log since the last rotation."""
        return self.container.call("cat", LOG).stdout

    def last_words(self) -> str:
        """The end of the log and of the journal, for a failure's message."""
        journal = self.container.call("journalctl", f"--unit={UNIT}", "--lines=15", "--no-pager")
        return "\n".join(self.log().splitlines()[-15:]) + "\n" + journal.stdout

    def health(self) -> str:
        """What the worker says of itself; empty where nothing answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/health", timeout=10) as answer:
                return str(answer.read().decode().strip())
        except HTTPError as error:
            return error.read().decode().strip()
        except URLError:
            return ""

    # --- jobs -------------------------------------------------------------------------------

    def upload(self, recording: Path) -> None:
        """Put a recording where `send` names it."""
        self._aws.s3.upload_file(str(recording), self._bucket, recording.name)

    def send(self, count: int = 1, recording: str = "sample.wav") -> list[str]:
        """Send jobs; their ids."""
        ids = [f"job-{self._sent + number}" for number in range(1, count + 1)]
        self._sent += count
        for job_id in ids:
            job = {"input": f"s3://{self._bucket}/{recording}", "job_id": job_id, "language": "en"}
            self._aws.sqs.send_message(QueueUrl=self._queue, MessageBody=json.dumps(job))
        return ids

    def wait_taken(self) -> None:
        """Wait until the worker holds something that it was sent."""
        wait_for(lambda: self._aws.depth(self._queue)[1], 60, self.last_words)

    def wait_done(self, ids: list[str], seconds: float = JOB_SECONDS) -> None:
        """Wait until each of these jobs has its result."""
        wait_for(
            lambda: not self.missing(ids),
            seconds,
            lambda: f"no result of {self.missing(ids)}\n{self.last_words()}",
        )

    def forget(self) -> None:
        """Empty the queue: of what a test that failed has left."""
        if self.left():
            self._aws.sqs.purge_queue(QueueUrl=self._queue)

    def missing(self, ids: list[str]) -> list[str]:
        """Those that have no result."""
        found = self._aws.s3.list_objects_v2(Bucket=self._results, Prefix="t/")
        keys = {item["Key"] for item in found.get("Contents", [])}
        return [job_id for job_id in ids if f"t/{job_id}/transcript.json" not in keys]

    def left(self) -> int:
        """Messages in the queue: visible, in flight and delayed."""
        return sum(self._aws.depth(self._queue))

    def events(self, name: str) -> list[str]:
        """The log's lines of one event."""
        return re.findall(rf"^.*event={re.escape(name)}\b.*$", self.log(), flags=re.MULTILINE)
