"""Measures, kind by kind, whether short encoder windows are as right as full ones.

Makes sets of recordings of other kinds out of clips whose text is known (pauses, single words,
quiet voices, noise, telephone, far away, two readers, ...; worker/bench/kind_sets.py), transcribes
each with `context = full` and with `auto`, and shows every set, also those where auto is worse.
A heavy run: some 20 s for each kind and contestant on two cores, and more with --peers.

    .venv/bin/python scripts/benchmark-kinds.py FOLDER... --kinds pauses,words --peers
    .venv/bin/python scripts/benchmark-kinds.py --sets FOLDER_OF_SETS
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from worker.bench import options
from worker.bench.kind_files import align, read_sets, read_sources, write_set
from worker.bench.kind_sets import KINDS, make_set
from worker.bench.kinds_report import AUTO, FULL, Heard, Judged, judge, to_json, to_markdown
from worker.bench.loads import Clip, make_loads
from worker.bench.plan import PEERS, Plan, Spec
from worker.bench.trial import Measurement, run_trial
from worker.errors import ExitCode, SettingsError
from worker.speech.model import device as devices
from worker.speech.model import models
from worker.speech.model.loaded import load_weights
from worker.speech.model.whisper import Whisper

SCRIPT = "benchmark-kinds.py"

ALIGNED = 3
"""Clips that are aligned for each file of the set of words."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Measures, kind by kind, whether short encoder windows are as right as full.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="clips with transcripts.csv (columns file, text) or long recordings with a table of "
        "their pieces; one reader a folder",
    )
    parser.add_argument(
        "--sets", type=Path, metavar="DIR", help="instead: sets that are there, a folder each"
    )
    parser.add_argument("--kinds", help="those to run; all if not given")
    parser.add_argument("--files", type=int, default=24, help="of each kind at most")
    parser.add_argument("--seed", type=int, default=0, help="of the sets and the bootstrap")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the sets there")
    parser.add_argument("--peers", action="store_true", help=f"run {', '.join(PEERS)} as well")
    options.add_model(parser, language=options.DETECT)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--timeout", type=float, default=3600.0, help="seconds for one contestant and kind"
    )
    options.add_reports(parser, json="the figures and all texts")
    arguments = options.parse(parser, argv, above_zero=("files", "beam_size", "timeout"))
    if bool(arguments.folders) == (arguments.sets is not None):
        parser.error("name folders of clips, or --sets with a folder of sets that are there")
    return arguments


def _sets(
    arguments: argparse.Namespace, plan: Plan, scratch: Path
) -> Iterator[tuple[str, list[Clip]]]:
    """The sets, each made when it is asked for.

    Raises:
        SettingsError: the folders are wrong, or hold no such kind.
    """
    there = read_sets(arguments.sets) if arguments.sets else None
    known = list(KINDS if there is None else there)
    wanted = [name.strip() for name in (arguments.kinds or ",".join(known)).split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SettingsError(f"--kinds {','.join(unknown)}: choose among {', '.join(known)}")
    if there is not None:
        yield from ((name, there[name]) for name in wanted)
        return
    sources = read_sources(arguments.folders)
    for name in wanted:
        clips = sources
        if name == "words":
            # Half of the clips have phrases to cut out, and to align one takes half a second.
            clips = sources[:: max(1, len(sources) // (ALIGNED * arguments.files))]
            clips = align(clips, _model(plan, arguments.device), plan.language)
        made = make_set(name, clips, arguments.files, arguments.seed)
        if not made:
            raise SettingsError(f"--kinds {name}: none can be made of these clips")
        yield name, write_set((arguments.keep or scratch) / name, made)


def _model(plan: Plan, wanted: str) -> Whisper:
    device, _ = devices.find_device("cuda" if wanted == "cuda" else "cpu")
    chosen = devices.compute_type(plan.compute_type, device)
    threads = plan.threads or devices.usable_cores()
    return load_weights(models.resolve(plan.model), device, chosen.name, threads)


def _contestants(arguments: argparse.Namespace, plan: Plan) -> dict[str, Spec]:
    specs = {
        FULL: Spec("optimized", replace(plan, context="full"), arguments.device),
        AUTO: Spec("optimized", replace(plan, context="auto"), arguments.device),
    }
    if arguments.peers:
        specs |= {name: Spec(name, plan, arguments.device) for name in PEERS}
    return specs


def _hear(
    kind: str,
    clips: Sequence[Clip],
    specs: Mapping[str, Spec],
    timeout: float,
    scratch: Path,
    console: Console,
) -> Heard:
    """Every contestant on one kind, each in a process of its own: no guard knows another kind."""
    (load,) = make_loads(clips, ["clips"], scratch)
    measurements: dict[str, Measurement] = {}
    failures: dict[str, str] = {}
    for name, spec in specs.items():
        trial = run_trial(
            spec,
            [load],
            warm_up=clips[0].path,
            timeout=timeout,
            log=scratch / "output.log",
            on_progress=lambda *_: None,
        )
        if load.name in trial.measurements:
            measurements[name] = trial.measurements[load.name]
            console.print(f"{kind}, {name}: {measurements[name].seconds:.1f} s", soft_wrap=True)
        else:
            failures[name] = trial.failure or "it ended without a word"
            console.print(f"{kind}, {name}: {escape(failures[name])}", soft_wrap=True)
    names = tuple(clip.path.name for clip in clips)
    return Heard(kind, names, load.seconds, load.references, measurements, failures)


def _benchmark(arguments: argparse.Namespace, scratch: Path, console: Console) -> int:
    plan = options.plan_of(arguments)
    specs = _contestants(arguments, plan)
    judged: list[Judged] = []
    for kind, clips in _sets(arguments, plan, scratch):
        heard = _hear(kind, clips, specs, arguments.timeout, scratch, console)
        judged.append(judge(heard, seed=arguments.seed))
        # After each kind, so that a run that is ended leaves what it found.
        options.write(arguments.json, to_json(judged, {"command": arguments.command}))
        options.write(arguments.markdown, to_markdown(judged, seed=arguments.seed))
    print(to_markdown(judged, seed=arguments.seed), end="")
    measured = any(one.heard.measurements for one in judged)
    return ExitCode.OK if measured else ExitCode.MACHINE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if anything was measured, 2 for wrong arguments, 3 if nothing was."""
    arguments = _arguments(argv)
    return options.run(SCRIPT, partial(_benchmark, arguments))


if __name__ == "__main__":
    sys.exit(main())
