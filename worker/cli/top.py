"""`transcription-worker top`: one worker, live in a terminal.

Reads the worker's own `/status` on loopback (setting `metrics_port`) and draws it; it changes
nothing and may be started and stopped at any time. `view` is pure: a status in, a picture out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.progress import clock
from worker.errors import MachineError

__all__ = ["read_status", "view", "watch"]

MOST_JOBS = 20
"""Jobs shown; the rest are counted."""

LOADING = "loading"
"""The state of a worker that is not ready yet, which is no fault."""

_LINES_BESIDE_JOBS = 9
"""Of a picture: its frame, the figures and headings, and the count of what isn't shown."""

_TIMEOUT_SECONDS = 5.0


def read_status(port: int) -> dict[str, Any]:
    """The status of the worker that serves on a loopback port.

    Raises:
        MachineError: no worker answers there.
    """
    address = f"http://127.0.0.1:{port}/status"
    try:
        with urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # loopback only
            return dict(json.load(answer))
    except (URLError, OSError, ValueError) as error:
        raise MachineError(
            f"no worker answers on port {port} of this machine: start one with metrics_port = "
            f"{port} (WORKER_METRICS_PORT), or name its port with --port ({error})"
        ) from error


def watch(console: Console, port: int, *, seconds: float, once: bool) -> None:
    """Draws the worker every so many seconds until interrupted or the worker is gone.

    Raises:
        MachineError: no worker answers at the start.
    """
    status = read_status(port)
    if once:
        console.print(view(status))
        return

    def picture(status: Mapping[str, Any]) -> RenderableType:
        return view(status, most_jobs=max(1, console.height - _LINES_BESIDE_JOBS))

    with Live(picture(status), console=console, refresh_per_second=4, screen=True) as live:
        while True:
            time.sleep(seconds)
            try:
                live.update(picture(read_status(port)))
            except MachineError:
                return


def view(status: Mapping[str, Any], *, most_jobs: int = MOST_JOBS) -> RenderableType:
    """A worker's status as a picture, for terminals of 80 columns and more.

    Args:
        status: as `/status` says it.
        most_jobs: how many jobs are shown; the rest are counted.
    """
    engine = status.get("engine") or {}
    title = Text.assemble(
        (str(status["state"]), _style(status)),
        f"  up {clock(float(status['uptime_seconds']))}",
        f"  {engine.get('model', '')} on {engine.get('device', '?')}"
        f" {engine.get('compute_type', '')}"
        if engine
        else "",
    )
    why = status.get("unhealthy_because")
    parts = [_figures(status), Text(), _jobs(status.get("held") or [], min(most_jobs, MOST_JOBS))]
    if why and status["state"] != LOADING:
        parts = [Text(f"unhealthy: {why}", style="red"), *parts]
    return Panel(Group(*parts), title=title, title_align="left")


def _style(status: Mapping[str, Any]) -> str:
    if status["state"] == LOADING:
        return "bold yellow"
    return "bold green" if status["healthy"] else "bold red"


def _figures(status: Mapping[str, Any]) -> RenderableType:
    queue = status["queue"]
    jobs: Mapping[str, float] = status["jobs"]
    extra: Mapping[str, float] = status.get("extra") or {}
    fill, speed = status["batch_fill"], status["speed"]
    figures = [
        _figure("queue", f"{_count(queue['visible'])} waiting, {_count(queue['in_flight'])} out"),
        _figure("held", f"{status['messages_held']} messages"),
        _figure("audio", f"{float(status['audio_held_seconds']):.0f} s held"),
        _figure("done", f"{jobs.get('committed', 0):.0f} jobs, {jobs.get('failed', 0):.0f} failed"),
        _figure("batch fill", "-" if fill is None else f"{fill:.0%}"),
        _figure("windows", f"{status['windows_waiting']} waiting"),
        _figure("GPU memory", _memory(extra)),
        _figure("speed", "-" if speed is None else f"{speed:.1f}x"),
    ]
    # As many beside one another as fit; none is broken.
    return Columns(figures, padding=(0, 3))


def _jobs(held: Sequence[Mapping[str, Any]], most: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("job", ratio=1, overflow="fold")  # its end tells ids of one name apart
    table.add_column("stage", width=8)
    table.add_column("progress", width=10)
    table.add_column("", width=16, justify="right", no_wrap=True)
    for job in held[:most]:
        done, total = float(job["done_seconds"]), job["total_seconds"]
        known = total is not None and total > 0
        table.add_row(
            str(job["job_id"]),
            str(job["stage"]),
            ProgressBar(total=float(total) if known else 1.0, completed=done if known else 0.0),
            f"{clock(done)}/{clock(float(total)) if known else '?'}",
        )
    if len(held) > most:
        table.add_row(f"and {len(held) - most} more", "", "", "")
    return table if held else Text("no job is held", style="dim")


def _figure(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, "bold"))


def _count(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _memory(extra: Mapping[str, float]) -> str:
    total = extra.get("gpu_bytes")
    if not total:
        return "no GPU"
    return f"{extra.get('gpu_used_bytes', 0) / 2**30:.1f} of {total / 2**30:.1f} GiB"
