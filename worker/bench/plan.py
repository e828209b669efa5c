"""What is compared, on which device, with what settings and in which order; loads nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from worker.speech.api import CarryContext
from worker.speech.model import allocator

__all__ = [
    "CARRIES",
    "CONTEXTS",
    "NAMES",
    "PEERS",
    "Context",
    "Plan",
    "Spec",
    "Started",
    "line_up",
]

Context = Literal["full", "adaptive", "auto"]

CONTEXTS: tuple[Context, ...] = ("full", "adaptive", "auto")

CARRIES: tuple[CarryContext, ...] = ("auto", "off", "on")

PEERS = ("whisperx", "faster-whisper", "faster-whisper-sequential")
"""The contestants that all others are compared with."""

NAMES = (
    *PEERS,
    "standard",
    "standard-words",
    "optimized",
    "optimized-words",
    "before",
    "after-int8",
    "after-float16",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all contestants have in common.

    Attributes:
        model: a model's name or directory.
        model_label: what reports call it.
        compute_type: what is asked for; devices that can't do it fall back, and rows say so.
        batch_size: windows in a batch at most.
        batch_size_given: whether it bounds short windows too; see `EngineConfig`.
        beam_size: width of the beam search.
        language: Whisper code, or None to detect it.
        threads: of the model on a CPU; 0 for all cores.
        num_workers: children that decode media for our transcribers; 0: as many as by default.
        context: how long encoder windows are; only the optimized transcriber's are ever shorter.
        carry_context: whether its windows are prompted with the text before them.
        fixed_tokens: tokens generated for each window of a model with random weights.
        after_model: model of the rows "after".
        after_label: what reports call it.
    """

    model: str = "base"
    model_label: str = "base"
    compute_type: str = "int8_float16"
    batch_size: int = 64
    batch_size_given: bool = False
    beam_size: int = 5
    language: str | None = "en"
    threads: int = 0
    num_workers: int = 0
    context: Context = "full"
    carry_context: CarryContext = "auto"
    fixed_tokens: int | None = None
    after_model: str = "large-v3"
    after_label: str = "large-v3"


@dataclass(frozen=True, slots=True)
class Spec:
    """One contestant on one device.

    Attributes:
        name: one of `NAMES`.
        plan: its own: some rows have another model, batch size or compute type than the rest.
        device: cpu or cuda.
        words: whether words get times.
        exact_batch: whether the batch size is used as given, even if memory is short.
        floor: whether its calls are made again on CTranslate2 alone, as a floor for its time.
    """

    name: str
    plan: Plan
    device: Literal["cpu", "cuda"]
    words: bool = False
    exact_batch: bool = False
    floor: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Variables that its process starts with: what the worker itself starts with."""
        if self.device != "cpu" or self.name in (*PEERS, "before"):
            return {}
        return {allocator.VARIABLE: allocator.tuned(os.environ.get(allocator.VARIABLE, ""))}

    @property
    def takes_context(self) -> bool:
        """Whether `context` and `carry_context` of its plan change what it does."""
        return self.name.startswith(("optimized", "after-"))

    @property
    def label(self) -> str:
        """Its title, device, and those of its settings that are not a plan's own."""
        context = "" if self.plan.context == "full" else f", {self.plan.context}"
        carried = self.plan.carry_context
        carry = "" if carried == "auto" else f", carry {carried}"
        return f"{self.title}{context}{carry} ({self.device})"

    @property
    def title(self) -> str:
        """What reports call it."""
        titles = {
            "whisperx": "WhisperX, file by file",
            "faster-whisper": "faster-whisper batched, file by file",
            "faster-whisper-sequential": "faster-whisper, window after window",
            "standard": "standard transcriber",
            "standard-words": "standard transcriber, words",
            "optimized": "optimized transcriber",
            "optimized-words": "optimized transcriber, words",
            "before": f"before: {self.plan.model_label}, batch {self.plan.batch_size}, sequential",
        }
        return titles.get(
            self.name,
            f"after: {self.plan.model_label}, batch {self.plan.batch_size}, "
            f"{self.plan.compute_type}",
        )


@dataclass(frozen=True, slots=True)
class Started:
    """What a contestant turned out to run on.

    Attributes:
        compute_type: the one in use.
        batch_size: the one in use.
        device: its name.
        notes: choices that were not asked for.
    """

    compute_type: str
    batch_size: int
    device: str
    notes: tuple[str, ...] = ()


def line_up(
    plan: Plan,
    on: Sequence[Literal["cpu", "cuda"]],
    wanted: Sequence[str] = NAMES,
    contexts: Sequence[Context] = ("full",),
    carries: Sequence[CarryContext] = ("auto",),
) -> list[Spec]:
    """All contestants on all devices, in the order in which they run.

    "before" is how systems of this kind begin: the base model, batches of 16 configured, one
    file after the other through WhisperX. "after" is the optimized transcriber at its defaults.

    Args:
        plan: what they have in common.
        on: the devices.
        wanted: the names of those that take part.
        contexts: those of the optimized transcriber, a row for each.
        carries: what it does with the text before a window; a row for each, with each context.
    """
    before = Plan(
        compute_type=plan.compute_type,
        batch_size=16,
        beam_size=plan.beam_size,
        language=plan.language,
        threads=plan.threads,
    )
    after = replace(
        plan,
        model=plan.after_model,
        model_label=plan.after_label,
        batch_size=Plan().batch_size,
        batch_size_given=False,
    )

    def each(plan: Plan) -> list[Plan]:
        return [
            replace(plan, context=context, carry_context=carry)
            for context in contexts
            for carry in carries
        ]

    found: list[Spec] = []
    for device in on:
        found += [Spec(name, plan, device) for name in (*PEERS, "standard")]
        found.append(Spec("standard-words", plan, device, words=True))
        for ours in each(plan):
            found.append(Spec("optimized", ours, device, floor=True))
            found.append(Spec("optimized-words", ours, device, words=True))
        found.append(Spec("before", before, device, exact_batch=True))
        for int8 in each(replace(after, compute_type="int8_float16")):
            float16 = replace(int8, compute_type="float16")
            found.append(Spec("after-int8", int8, device, floor=True))
            found.append(Spec("after-float16", float16, device, floor=True))
    return [spec for spec in found if spec.name in wanted]
