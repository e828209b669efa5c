r"""Measures the worker beside WhisperX and faster-whisper on a folder of audio, CPU and GPU.

Every contestant gets a process of its own, in alternating order over the repeats, and runs on
the same clips, one by one and joined into one long file, and on long recordings (the folders'
format: worker/bench/loads.py). What can't be measured here (a card, weights, transcripts) is said
in the report with its reason.

    .venv/bin/python scripts/benchmark-gpu-cpu-complete.py FOLDER... --repeats 3 \
        --markdown out/benchmark.md --json out/benchmark.json --png out/benchmark.png
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from worker.bench import options
from worker.bench.calibrate import PeerRun, calibrate, check_clips, memory_table
from worker.bench.calibrate import to_markdown as to_table
from worker.bench.claims import claims
from worker.bench.figures import Prices, make_rows
from worker.bench.loads import LOADS, MANY, Clip, Load, make_loads, read_clips, read_folders
from worker.bench.machine import card_bytes, describe, resident_bytes
from worker.bench.plan import CARRIES, CONTEXTS, NAMES, PEERS, Plan, Spec, line_up
from worker.bench.random_model import ARCHITECTURES, write_random_model
from worker.bench.report import Report, draw, to_json, to_markdown
from worker.bench.trial import Trial, run_trial
from worker.errors import ExitCode
from worker.speech.model import choices, memory, models
from worker.speech.model import device as devices
from worker.speech.model.loaded import load_weights
from worker.speech.model.weights import read_dimensions
from worker.speech.windows import FULL_POSITIONS

SCRIPT = "benchmark-gpu-cpu-complete.py"

DEVICES: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    plan, prices = Plan(), Prices()
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Measures the worker beside WhisperX and faster-whisper, on CPU and GPU.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="audio files, and maybe transcripts.csv (columns file, text), or long recordings, "
        "each with a table of its name (columns start, end, text); all folders are one load",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N clips alone")
    parser.add_argument(
        "--loads",
        help=f"among {', '.join(LOADS)}; if not given, all that the folders have files for, but "
        "long-many",
    )
    parser.add_argument("--many", type=int, default=MANY, help="files of the load long-many")
    parser.add_argument(
        "--many-seconds",
        type=float,
        metavar="S",
        help="end each of them after so much speech; if not given, they are whole recordings",
    )
    parser.add_argument("--contestants", default=",".join(NAMES), help="those that take part")
    parser.add_argument("--devices", default=",".join(DEVICES), help="cpu, cuda, or both")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each contestant")
    options.add_model(parser, language=plan.language or options.DETECT)
    parser.add_argument(
        "--batch-size",
        type=int,
        help=f"windows in a batch at most ({plan.batch_size} if not given)",
    )
    parser.add_argument(
        "--context",
        default=plan.context,
        help="of the optimized transcriber: full, adaptive or auto, or several, a row for each",
    )
    parser.add_argument(
        "--carry-context",
        default=plan.carry_context,
        help="of the optimized transcriber: auto, off or on, or several, a row for each",
    )
    parser.add_argument("--after-model", default=plan.after_model, help="of the rows 'after'")
    parser.add_argument(
        "--random-weights",
        choices=sorted(ARCHITECTURES),
        help="run this architecture with random weights, where real ones can't be had",
    )
    parser.add_argument(
        "--tokens", type=int, default=100, help="tokens a window with random weights"
    )
    parser.add_argument(
        "--tokenizer-from",
        default="base",
        metavar="MODEL",
        help="the model whose tokenizer random weights get",
    )
    parser.add_argument(
        "--download", action="store_true", help="let missing models be fetched from the hub"
    )
    parser.add_argument(
        "--price-gpu", type=float, default=prices.gpu, help="dollars an hour, g4dn.xlarge"
    )
    parser.add_argument(
        "--price-gpu-spot", type=float, help="the same on spot; it changes by the hour"
    )
    parser.add_argument(
        "--price-cpu", type=float, default=prices.cpu, help="dollars an hour, c5.2xlarge"
    )
    parser.add_argument(
        "--timeout", type=float, default=7200.0, help="seconds that one contestant's turn may take"
    )
    parser.add_argument("--seed", type=int, default=0, help="of bootstrap and random weights")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="instead: decode the clips with encoder windows of several lengths, and show what "
        "each gains and costs, beside the peers that take part",
    )
    options.add_reports(parser)
    parser.add_argument("--png", type=Path, help="write a chart here")
    arguments = options.parse(
        parser,
        argv,
        above_zero=(
            *("limit", "repeats", "batch_size", "beam_size", "tokens", "timeout"),
            *("many", "many_seconds"),
        ),
    )
    for name, known in (
        ("loads", LOADS),
        ("contestants", NAMES),
        ("devices", DEVICES),
        ("context", CONTEXTS),
        ("carry_context", CARRIES),
    ):
        if getattr(arguments, name) is not None:
            chosen = _chosen(parser, options.flag(name), getattr(arguments, name), known)
            setattr(arguments, name, chosen)
    if arguments.random_weights and arguments.context != ["full"]:
        parser.error(
            "--random-weights goes with --context full alone: what it says in a short window "
            "fails the checks, so that every one would be decoded twice"
        )
    return arguments


def _chosen(
    parser: argparse.ArgumentParser, flag: str, text: str, known: Sequence[str]
) -> list[str]:
    """The names in a list that was given, in the order in which they are known."""
    names = [item.strip() for item in text.split(",") if item.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        parser.error(f"{flag} {','.join(unknown)}: choose among {', '.join(known)}")
    return [name for name in known if name in names]


def _plan(arguments: argparse.Namespace, scratch: Path) -> Plan:
    """What the contestants have in common; writes the random weights if they are asked for.

    Raises:
        WorkerError: there is no tokenizer for them.
    """
    plan = replace(
        options.plan_of(arguments),
        batch_size=arguments.batch_size or Plan().batch_size,
        batch_size_given=arguments.batch_size is not None,
        after_model=arguments.after_model,
        after_label=Path(arguments.after_model).name,
    )
    if arguments.random_weights is None:
        return plan
    directory = scratch / arguments.random_weights
    write_random_model(
        directory,
        ARCHITECTURES[arguments.random_weights],
        models.resolve(arguments.tokenizer_from),
        seed=arguments.seed,
    )
    label = f"{arguments.random_weights} (random weights)"
    return replace(
        plan,
        model=str(directory),
        model_label=label,
        after_model=str(directory),
        after_label=label,
        fixed_tokens=arguments.tokens,
    )


class _Display:
    """Progress on stderr: a bar for the run and one for the turn, and a line for each turn."""

    def __init__(self, console: Console, turns: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._run = self._progress.add_task("turns", total=turns)
        self._turn = self._progress.add_task("", total=None)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """While the run lasts."""
        with self._progress:
            yield

    def begin(self, name: str) -> None:
        """A contestant's turn."""
        self._progress.update(self._turn, description=f"{name}: loading", completed=0, total=None)

    def progress(self, load: str, done: int, files: int) -> None:
        """A file is done."""
        self._progress.update(self._turn, description=f"{load}: files", completed=done, total=files)

    def end(self, name: str, trial: Trial) -> None:
        """What came of the turn."""
        parts = [f"{load} {run.seconds:.1f} s" for load, run in trial.measurements.items()]
        if trial.failure:
            parts.append(f"not measured: {trial.failure}")
        self._console.print(f"{escape(name)}: {escape(', '.join(parts))}", soft_wrap=True)
        self._progress.advance(self._run)


def _run(
    specs: Sequence[Spec],
    loads: Sequence[Load],
    warm_up: Path,
    turns: int,
    timeout: float,
    scratch: Path,
    console: Console,
) -> list[list[Trial]]:
    """Every contestant's turns; the order is reversed from one repeat to the next."""
    display = _Display(console, len(specs) * turns)
    failed: dict[Spec, str] = {}
    if devices.cuda_cards() == 0:
        reason = "no CUDA device can be used on this machine"
        failed = {spec: reason for spec in specs if spec.device == "cuda"}
    repeats: list[list[Trial]] = []
    with display.shown():
        for number in range(turns):
            trials: dict[Spec, Trial] = {}
            for spec in specs if number % 2 == 0 else reversed(specs):
                name = f"{number + 1}/{turns} {spec.label}"
                display.begin(name)
                if spec in failed:
                    trial = Trial(spec, failure=failed[spec])
                else:
                    trial = run_trial(
                        spec,
                        loads,
                        warm_up=warm_up,
                        timeout=timeout,
                        log=scratch / "output.log",
                        on_progress=display.progress,
                    )
                if trial.failure:
                    failed[spec] = trial.failure  # it would fail again
                trials[spec] = trial
                display.end(name, trial)
            repeats.append([trials[spec] for spec in specs])
    return repeats


def _settings(arguments: argparse.Namespace, plan: Plan, loads: Sequence[Load]) -> dict[str, str]:
    words = "" if plan.fixed_tokens is None else f", {plan.fixed_tokens} tokens a window"
    spot = arguments.price_gpu_spot
    return {
        "model": plan.model_label + words,
        "asked for": f"{plan.compute_type}, batch {plan.batch_size}, beam {plan.beam_size}, "
        f"language {plan.language or 'detected'}, {plan.threads or 'all'} threads, "
        f"{arguments.repeats} repeats in alternating order",
        **{
            f"load {load.name}": f"{len(load.paths)} files, {load.seconds:.1f} s of audio"
            for load in loads
        },
        "prices": f"g4dn.xlarge ${arguments.price_gpu:g} an hour on demand, "
        f"{'spot not given' if spot is None else f'${spot:g} on spot'}; "
        f"c5.2xlarge ${arguments.price_cpu:g}",
        "command": arguments.command,
    }


def _benchmark(arguments: argparse.Namespace, scratch: Path, console: Console) -> int:
    material = read_folders(arguments.folders, arguments.limit)
    loads = make_loads(
        material.clips,
        arguments.loads or material.loads,
        scratch,
        material.recordings,
        many=arguments.many,
        many_seconds=arguments.many_seconds,
    )
    plan = _plan(arguments, scratch)
    machine = describe()
    repeats = _run(
        line_up(
            plan,
            arguments.devices,
            arguments.contestants,
            arguments.context,
            arguments.carry_context,
        ),
        loads,
        material.warm_up(scratch),
        arguments.repeats,
        arguments.timeout,
        scratch,
        console,
    )
    prices = Prices(arguments.price_gpu, arguments.price_gpu_spot, arguments.price_cpu)
    rows = make_rows(repeats, loads, prices, seed=arguments.seed)
    report = Report(machine, _settings(arguments, plan, loads), rows, claims(rows))
    markdown = to_markdown(report)
    print(markdown, end="")
    options.write(arguments.json, to_json(report))
    options.write(arguments.markdown, markdown)
    if arguments.png is not None:
        arguments.png.parent.mkdir(parents=True, exist_ok=True)
        draw(report, arguments.png)
    return ExitCode.OK if any(row.runs for row in rows) else ExitCode.MACHINE


def _peers(
    arguments: argparse.Namespace,
    device: choices.Device,
    clips: Sequence[Clip],
    scratch: Path,
    console: Console,
) -> list[PeerRun]:
    """What the chosen peers make of the clips; one that fails is reported and left out."""
    names = [name for name in PEERS if name in arguments.contestants]
    on: Literal["cpu", "cuda"] = "cuda" if device.kind == "cuda" else "cpu"
    specs = line_up(_plan(arguments, scratch), [on], names)
    loads = make_loads(clips, ["clips"], scratch)
    (trials,) = _run(specs, loads, clips[0].path, 1, arguments.timeout, scratch, console)
    return [
        PeerRun(trial.spec.title, run.seconds, run.texts)
        for trial in trials
        for run in trial.measurements.values()
    ]


def _calibrate(arguments: argparse.Namespace, scratch: Path, console: Console) -> int:
    """The table of encoder lengths, and what a batch of short windows takes beside full ones."""
    clips = read_clips(arguments.folders, arguments.limit)
    check_clips(clips)
    device, _ = devices.find_device("auto" if "cuda" in arguments.devices else "cpu")
    # Before the model is loaded: on a card they need the memory.
    peers = _peers(arguments, device, clips, scratch, console)
    chosen = devices.compute_type(arguments.compute_type, device)
    cores = arguments.threads or devices.usable_cores()
    directory = models.resolve(arguments.model)
    model = load_weights(directory, device, chosen.name, cores)
    windows = arguments.batch_size or _windows(directory, arguments, device, chosen.name, cores)
    rows = calibrate(
        model,
        clips,
        language=options.plan_of(arguments).language,
        beam_size=arguments.beam_size,
        batch_positions=windows * FULL_POSITIONS,
        on_row=lambda name: console.print(f"decoding: {escape(name)}", soft_wrap=True),
        peers=peers,
    )
    text = (
        f"{Path(arguments.model).name} {chosen.name}, beam {arguments.beam_size}, {device.name}, "
        f"{cores} threads, batches of {windows} x 30 s\n\n"
    ) + to_table(rows)
    # What took minutes is shown before anything that may fail.
    print(text)
    options.write(arguments.markdown, text)
    read = resident_bytes if device.kind == "cpu" else partial(card_bytes, device.index)
    table = memory_table(model, windows=windows, beam_size=arguments.beam_size, read=read)
    print(table, end="")
    options.write(arguments.markdown, f"{text}\n{table}")
    return ExitCode.OK


def _windows(
    directory: Path,
    arguments: argparse.Namespace,
    device: choices.Device,
    compute_type: str,
    cores: int,
) -> int:
    """Windows of 30 s in a batch: as many as the device holds, once the model is loaded."""
    return memory.budget(
        read_dimensions(directory),
        batch_size=64,
        batch_size_given=True,
        beam_size=arguments.beam_size,
        compute_type=compute_type,
        device=device,
        free_bytes=devices.free_memory(device),
        reserved=0,
        cores=memory.CPU_WINDOWS if device.kind == "cpu" else cores,
    ).capacity(FULL_POSITIONS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if anything was measured, 2 for wrong arguments, 3 if nothing was."""
    arguments = _arguments(argv)
    work = partial(_calibrate if arguments.calibrate else _benchmark, arguments)
    return options.run(SCRIPT, work, download=arguments.download)


if __name__ == "__main__":
    sys.exit(main())
