"""What the fleet of config/cloudformation.yaml would do with a backlog: time, cost, work redone.

The scaling policy is not copied here, it is read from the template: sizes, thresholds, periods
and the metric-math expressions are evaluated as they stand there. The rest is a small model of
SQS, spot instances and the worker, stepped from event to event and seeded, so that a run can be
repeated. What it assumes (speed of a card, rate of interruptions, time to boot, prices) are
options, and printed with the result: none of these numbers was measured by this script.

    .venv/bin/python scripts/simulate-fleet.py --parameter MaxSize=50 --output fleet.png
"""

from __future__ import annotations

import argparse
import ast
import heapq
import json
import math
import operator
import random
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).resolve().parents[1] / "config" / "cloudformation.yaml"

WINDOW_SECONDS = 30.0
"""Whisper's window."""
NOTICE_SECONDS = 120.0
"""AWS gives two minutes between a spot notice and the end of the instance."""
TRACKING_DATAPOINTS = 3
"""The alarm that AWS makes for target tracking wants three one-minute datapoints to scale out."""
IN_SERVICE_SECONDS = 45.0
"""From launch to InService; the worker is ready later (`boot_seconds`)."""
END_SECONDS = 15.0
"""From a worker's own end to the end of its bill, with the lifecycle hook completed early."""


# --- the template ----------------------------------------------------------------------------


class _TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, as one-key mappings."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = node.value.split(".", 1) if suffix == "GetAtt" else loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_TemplateLoader.add_multi_constructor("!", _tagged)


def load_template(path: Path) -> Mapping[str, Any]:
    """Reads a CloudFormation template as data, short tags (`!Ref`) as their long forms.

    cfn-lint and moto have readers too; importing the first takes seconds, and the second's leaves
    nested tags half built.
    """
    # A SafeLoader with constructors that make nothing but dictionaries.
    text = path.read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.load(text, _TemplateLoader)  # noqa: S506
    return loaded


@dataclass(frozen=True, slots=True)
class Expression:
    """A CloudWatch metric-math expression and the metrics that its names stand for."""

    text: str
    metrics: Mapping[str, str]

    def value(self, readings: Mapping[str, float | None]) -> float | None:
        """Evaluates it on the readings of metrics, by metric name; None is missing data.

        Raises:
            ValueError: the expression uses something that this evaluator does not know.
        """
        names = {name: readings[metric] for name, metric in self.metrics.items()}
        python = self.text.replace("&&", " and ").replace("||", " or ")
        python = re.sub(r"\b(AND|OR)\b", lambda word: word[0].lower(), python)
        return _evaluate(ast.parse(python.strip(), mode="eval").body, names)


_COMPARE: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _evaluate(node: ast.expr, names: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=number) if isinstance(number, int | float):
            return float(number)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, two = _evaluate(left, names), _evaluate(right, names)
            if one is None or two is None or (isinstance(op, ast.Div) and two == 0):
                return None  # CloudWatch leaves such a datapoint out
            return _ARITHMETIC[type(op)](one, two)
        case ast.Compare(left=left, ops=[comparison], comparators=[right]) if (
            type(comparison) in _COMPARE
        ):
            one, two = _evaluate(left, names), _evaluate(right, names)
            if one is None or two is None:
                return None
            return float(_COMPARE[type(comparison)](one, two))
        case ast.BoolOp(op=connective, values=values):
            results = [_evaluate(value, names) for value in values]
            if None in results:
                return None
            return float(all(results) if isinstance(connective, ast.And) else any(results))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            chosen = _evaluate(condition, names)
            return None if chosen is None else _evaluate(then if chosen else otherwise, names)
        case ast.Call(func=ast.Name(id="FILL"), args=[series, filler]):
            value = _evaluate(series, names)
            return _evaluate(filler, names) if value is None else value
    raise ValueError(f"metric math that this simulation does not know: {ast.unparse(node)}")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the template says about scaling, with its parameters filled in.

    Seconds, messages and instances. `first` is the step policy's alarm, `backlog` the metric of
    target tracking.
    """

    min_size: int
    max_size: int
    visibility_timeout: float
    max_receives: int
    idle_timeout: float
    first: Expression
    first_threshold: float
    first_datapoints: int
    first_adjustment: int
    first_warmup: float
    backlog: Expression
    backlog_target: float


def read_policy(path: Path, parameters: Mapping[str, str]) -> Policy:
    """Reads the scaling policy out of a template.

    Args:
        path: the CloudFormation template.
        parameters: values of its parameters that differ from their defaults.

    Raises:
        ValueError: the template is not built as this simulation understands it.
    """
    template = load_template(path)
    if unknown := set(parameters) - set(template["Parameters"]):
        raise ValueError(f"the template has no parameter {', '.join(sorted(unknown))}")
    values = {
        name: parameters.get(name, declared.get("Default"))
        for name, declared in template["Parameters"].items()
    }

    def resolved(value: Any) -> float:
        if isinstance(value, dict):
            value = values[value["Ref"]]
        return float(value)

    def of_type(kind: str) -> dict[str, dict[str, Any]]:
        return {
            name: resource["Properties"]
            for name, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def only(what: str, found: Sequence[Any]) -> Any:
        if len(found) != 1:
            raise ValueError(f"the template has {len(found)} of {what}, expected one")
        return found[0]

    policies = of_type("AWS::AutoScaling::ScalingPolicy")
    step_name = only(
        "step scaling policies",
        [name for name, p in policies.items() if p["PolicyType"] == "StepScaling"],
    )
    step = policies[step_name]
    tracking = only(
        "target tracking policies",
        [p for p in policies.values() if p["PolicyType"] == "TargetTrackingScaling"],
    )["TargetTrackingConfiguration"]
    alarm = only(
        "alarms that start the step policy",
        [
            properties
            for properties in of_type("AWS::CloudWatch::Alarm").values()
            if {"Ref": step_name} in properties["AlarmActions"]
        ],
    )
    if step["AdjustmentType"] != "ChangeInCapacity" or not tracking["DisableScaleIn"]:
        raise ValueError("this simulation knows ChangeInCapacity, and no scale-in by tracking")
    if alarm["ComparisonOperator"] != "GreaterThanOrEqualToThreshold":
        raise ValueError(f"this simulation does not know {alarm['ComparisonOperator']}")
    group = only("groups", list(of_type("AWS::AutoScaling::AutoScalingGroup").values()))
    queue = only(
        "queues with a redrive policy",
        [q for q in of_type("AWS::SQS::Queue").values() if "RedrivePolicy" in q],
    )
    return Policy(
        min_size=int(resolved(group["MinSize"])),
        max_size=int(resolved(group["MaxSize"])),
        visibility_timeout=resolved(queue["VisibilityTimeout"]),
        max_receives=int(resolved(queue["RedrivePolicy"]["maxReceiveCount"])),
        idle_timeout=float(values["IdleTimeout"]),
        first=_expression(alarm["Metrics"]),
        first_threshold=resolved(alarm["Threshold"]),
        first_datapoints=int(resolved(alarm["EvaluationPeriods"])),
        first_adjustment=int(only("steps", step["StepAdjustments"])["ScalingAdjustment"]),
        first_warmup=resolved(step["EstimatedInstanceWarmup"]),
        backlog=_expression(tracking["CustomizedMetricSpecification"]["Metrics"]),
        backlog_target=resolved(tracking["TargetValue"]),
    )


def _expression(metrics: Sequence[Mapping[str, Any]]) -> Expression:
    returned = next(metric for metric in metrics if metric["ReturnData"])
    return Expression(
        text=str(returned["Expression"]),
        metrics={
            str(metric["Id"]): str(metric["MetricStat"]["Metric"]["MetricName"])
            for metric in metrics
            if "MetricStat" in metric
        },
    )


# --- the model -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What no file says. Seconds; `speed` is audio seconds per second of one instance."""

    jobs: int = 100_000
    job_seconds: float = 300.0
    long_share: float = 0.02
    long_seconds: float = 7200.0
    speed: float = 40.0
    batch_windows: int = 24
    held_seconds: float = 1800.0
    boot_seconds: float = 240.0
    interruptions_per_hour: float = 0.2
    without_notice: float = 0.1
    drain_seconds: float = 90.0
    metric_delay: float = 60.0
    checkpoints: bool = True
    seed: int = 1


@dataclass(slots=True)
class Job:
    """One message with one job. `done` windows of `windows` survive what has happened so far."""

    windows: int
    seconds: float
    done: int = 0
    receives: int = 0
    completed: int = 0

    def work(self, windows: int) -> float:
        """Audio seconds in `windows` of this job's windows (they are of equal length)."""
        return self.seconds * windows / self.windows


@dataclass(slots=True)
class Instance:
    """One spot instance and the worker on it."""

    number: int
    launched: float
    in_service_at: float
    ready_at: float
    held: deque[int] = field(default_factory=deque)
    batch: list[tuple[int, int]] = field(default_factory=list)
    batch_began: float = 0.0
    batch_serial: int = 0
    draining: bool = False
    idle_since: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The fleet at one minute."""

    minute: float
    waiting: int
    in_flight: int
    completed: int
    desired: int
    instances: int
    redone_seconds: float


@dataclass(slots=True)
class Outcome:
    """What a run came to. Seconds of time, of audio (`*_audio`), and instance hours."""

    assumptions: Assumptions
    drained_at: float = 0.0
    ended_at: float = 0.0
    ideal_seconds: float = 0.0
    useful_audio: float = 0.0
    decoded_audio: float = 0.0
    redone_audio: float = 0.0
    instance_hours: float = 0.0
    launches: int = 0
    interruptions: int = 0
    without_notice: int = 0
    most_receives: int = 0
    dead_lettered: int = 0
    completed: int = 0
    completed_twice: int = 0
    samples: list[Sample] = field(default_factory=list)


class Fleet:
    """One run: queue, group and workers, moved from event to event.

    Args:
        policy: what the template says.
        assumptions: the rest.
    """

    def __init__(self, policy: Policy, assumptions: Assumptions) -> None:
        self._policy = policy
        self._given = assumptions
        self._events: list[tuple[float, int, str, int, int]] = []
        self._serial = 0
        self._now = 0.0
        self._jobs = _backlog(assumptions)
        self._waiting: deque[int] = deque(range(len(self._jobs)))
        self._in_flight = 0
        self._left = len(self._jobs)
        self._desired = policy.min_size
        self._instances: dict[int, Instance] = {}
        self._launched = 0
        self._first_breaches = 0
        self._tracking: deque[tuple[float, int] | None] = deque(maxlen=TRACKING_DATAPOINTS)
        self._readings: deque[tuple[float, dict[str, float | None]]] = deque()
        useful = sum(job.seconds for job in self._jobs)
        self.outcome = Outcome(
            assumptions=assumptions,
            useful_audio=useful,
            ideal_seconds=useful / (assumptions.speed * policy.max_size),
        )

    def run(self) -> Outcome:
        """Runs until the queue is empty and the group is back at its minimum.

        Raises:
            RuntimeError: it would take longer than a simulated quarter, so something is wrong.
        """
        self._at(0.0, "minute")
        least = self._policy.min_size
        while self._left or max(self._desired, len(self._instances)) > least:
            self._now, _, kind, subject, serial = heapq.heappop(self._events)
            if self._now > 90 * 86400:
                raise RuntimeError("the backlog is not drained after 90 days: is speed too low?")
            if kind == "minute":
                self._minute()
            elif kind == "visible":
                self._waiting.append(subject)
                self._in_flight -= 1
            elif (instance := self._instances.get(subject)) is not None:
                self._instance_event(kind, instance, serial)
        outcome = self.outcome
        outcome.ended_at = self._now
        outcome.most_receives = max(job.receives for job in self._jobs)
        outcome.completed = sum(job.completed > 0 for job in self._jobs)
        outcome.completed_twice = sum(job.completed > 1 for job in self._jobs)
        self._sample()
        return outcome

    def _at(self, when: float, kind: str, subject: int = 0, serial: int = 0) -> None:
        self._serial += 1
        heapq.heappush(self._events, (when, self._serial, kind, subject, serial))

    def _instance_event(self, kind: str, instance: Instance, serial: int) -> None:
        if kind == "ready":
            self._next_batch(instance)
        elif kind == "batch":
            if serial == instance.batch_serial:
                self._batch_done(instance)
        elif kind == "look":
            if serial == instance.batch_serial and not instance.draining:
                self._next_batch(instance)
        elif kind == "notice":
            self._notice(instance)
        elif kind == "killed":
            self._killed(instance)
        elif kind == "drained":
            self._drained(instance)
        else:
            self._gone(instance)

    # -- the group, once a minute

    def _minute(self) -> None:
        in_service = sum(i.in_service_at <= self._now for i in self._instances.values())
        self._readings.append(
            (
                self._now,
                {
                    "ApproximateNumberOfMessagesVisible": float(len(self._waiting)),
                    "GroupDesiredCapacity": float(self._desired),
                    "GroupInServiceInstances": float(in_service),
                },
            )
        )
        # CloudWatch shows a minute only after a while.
        while self._readings and self._readings[0][0] <= self._now - self._given.metric_delay:
            _, readings = self._readings.popleft()
            self._scale(readings)
        for _ in range(self._desired - sum(not i.draining for i in self._instances.values())):
            self._launch()
        self._sample()
        self._at(self._now + 60.0, "minute")

    def _scale(self, readings: Mapping[str, float | None]) -> None:
        policy = self._policy
        wanted = policy.first.value(readings)
        breach = wanted is not None and wanted >= policy.first_threshold
        self._first_breaches = self._first_breaches + 1 if breach else 0
        if self._first_breaches >= policy.first_datapoints:
            # Instances that still warm up are what this policy has asked for already.
            warming = sum(
                self._now < i.in_service_at + policy.first_warmup for i in self._instances.values()
            )
            warming = min(self._desired, warming)
            self._set_desired(self._desired - warming + policy.first_adjustment)
        backlog = policy.backlog.value(readings)
        capacity = readings["GroupInServiceInstances"] or 0.0
        self._tracking.append(None if backlog is None else (backlog, int(capacity)))
        latest = [entry for entry in self._tracking if entry and entry[0] > policy.backlog_target]
        if len(latest) == TRACKING_DATAPOINTS:
            value, count = latest[-1]
            self._set_desired(math.ceil(count * value / policy.backlog_target))

    def _set_desired(self, wanted: int) -> None:
        # Neither policy scales in.
        self._desired = max(self._desired, min(self._policy.max_size, wanted))

    def _launch(self) -> None:
        self._launched += 1
        self.outcome.launches += 1
        given = self._given
        instance = Instance(
            number=self._launched,
            launched=self._now,
            in_service_at=self._now + IN_SERVICE_SECONDS,
            ready_at=self._now + given.boot_seconds,
        )
        self._instances[instance.number] = instance
        self._at(instance.ready_at, "ready", instance.number)
        if given.interruptions_per_hour > 0:
            # A stream of its own for each instance: with and without checkpoints alike.
            fate = random.Random(f"{given.seed}-instance-{instance.number}")
            end = self._now + fate.expovariate(given.interruptions_per_hour / 3600.0)
            kind = "killed" if fate.random() < given.without_notice else "notice"
            self._at(end, kind, instance.number)

    def _sample(self) -> None:
        self.outcome.samples.append(
            Sample(
                minute=self._now / 60.0,
                waiting=len(self._waiting),
                in_flight=self._in_flight,
                completed=len(self._jobs) - self._left,
                desired=self._desired,
                instances=len(self._instances),
                redone_seconds=self.outcome.redone_audio,
            )
        )

    # -- a worker

    def _next_batch(self, instance: Instance) -> None:
        self._fill(instance)
        batch: list[tuple[int, int]] = []
        room = self._given.batch_windows
        for number in instance.held:
            job = self._jobs[number]
            taken = min(room, job.windows - job.done)
            batch.append((number, taken))
            room -= taken
            if room == 0:
                break
        instance.batch = batch
        instance.batch_began = self._now
        instance.batch_serial += 1
        if batch:
            instance.idle_since = None
            seconds = self._batch_audio(instance) / self._given.speed
            self._at(self._now + seconds, "batch", instance.number, instance.batch_serial)
        else:
            self._idle(instance)

    def _fill(self, instance: Instance) -> None:
        if instance.draining:
            return
        held = sum(
            self._jobs[n].work(self._jobs[n].windows - self._jobs[n].done) for n in instance.held
        )
        while self._waiting and held < self._given.held_seconds:
            number = self._waiting.popleft()
            job = self._jobs[number]
            job.receives += 1
            if job.receives > self._policy.max_receives:
                self.outcome.dead_lettered += 1
                self._answered()
                continue
            self._in_flight += 1
            instance.held.append(number)
            held += job.work(job.windows - job.done)

    def _batch_audio(self, instance: Instance) -> float:
        return sum(self._jobs[number].work(taken) for number, taken in instance.batch)

    def _batch_done(self, instance: Instance) -> None:
        self.outcome.decoded_audio += self._batch_audio(instance)
        for number, taken in instance.batch:
            job = self._jobs[number]
            job.done += taken
            if job.done == job.windows:
                instance.held.remove(number)
                job.completed += 1
                self._in_flight -= 1
                self._answered()
        instance.batch = []
        self._next_batch(instance)

    def _answered(self) -> None:
        self._left -= 1
        if not self._left:
            self.outcome.drained_at = self._now

    def _idle(self, instance: Instance) -> None:
        if instance.draining:
            self._drained(instance)
            return
        if instance.idle_since is None:
            instance.idle_since = self._now
        patience = self._policy.idle_timeout
        if self._in_flight:
            # What others hold may come back; bounded, as in the worker.
            patience += 2 * self._policy.visibility_timeout
        if self._now - instance.idle_since >= patience and self._desired > self._policy.min_size:
            self._desired -= 1
            instance.draining = True
            self._at(self._now + END_SECONDS, "gone", instance.number)
        else:
            self._at(self._now + 5.0, "look", instance.number, instance.batch_serial)

    # -- its end

    def _notice(self, instance: Instance) -> None:
        if instance.draining:
            return
        self.outcome.interruptions += 1
        instance.draining = True
        in_work = {number for number, _ in instance.batch}
        for number in list(instance.held):
            if number not in in_work and not self._jobs[number].done:
                instance.held.remove(number)
                self._give_back(number, 0.0)
        if instance.held:
            self._at(self._now + self._given.drain_seconds, "drained", instance.number)
        self._at(self._now + NOTICE_SECONDS, "gone", instance.number)

    def _drained(self, instance: Instance) -> None:
        self._abandon_batch(instance)
        for number in instance.held:
            if not self._given.checkpoints:
                self._lose(number)
            self._give_back(number, 0.0)
        instance.held.clear()

    def _killed(self, instance: Instance) -> None:
        if instance.draining:
            return
        self.outcome.interruptions += 1
        self.outcome.without_notice += 1
        self._abandon_batch(instance)
        for number in instance.held:
            self._lose(number)
            self._give_back(number, self._policy.visibility_timeout)
        instance.held.clear()
        self._gone(instance)

    def _abandon_batch(self, instance: Instance) -> None:
        """What the card has done of an unfinished batch is lost, whatever else is saved."""
        if instance.batch:
            spent = (self._now - instance.batch_began) * self._given.speed
            self.outcome.decoded_audio += spent
            self.outcome.redone_audio += spent
        instance.batch = []
        instance.batch_serial += 1

    def _lose(self, number: int) -> None:
        job = self._jobs[number]
        self.outcome.redone_audio += job.work(job.done)
        job.done = 0

    def _give_back(self, number: int, delay: float) -> None:
        if delay:
            self._at(self._now + delay, "visible", number)
        else:
            self._waiting.append(number)
            self._in_flight -= 1

    def _gone(self, instance: Instance) -> None:
        instance.ended = self._now
        del self._instances[instance.number]
        # Billed by the second, a minute at least.
        self.outcome.instance_hours += max(60.0, self._now - instance.launched) / 3600.0


def _backlog(given: Assumptions) -> list[Job]:
    """Jobs of random length: lognormal around `job_seconds`, and a share of long ones."""
    lengths = random.Random(f"{given.seed}-jobs")
    sigma = 0.8
    mu = math.log(given.job_seconds) - sigma * sigma / 2  # so that the mean is job_seconds
    jobs = []
    for _ in range(given.jobs):
        long = lengths.random() < given.long_share
        seconds = given.long_seconds if long else max(1.0, lengths.lognormvariate(mu, sigma))
        jobs.append(Job(windows=math.ceil(seconds / WINDOW_SECONDS), seconds=seconds))
    return jobs


# --- what is shown ---------------------------------------------------------------------------


def report(policy: Policy, saved: Outcome, lost: Outcome, price: float, spot_price: float) -> str:
    """The result as text, with everything that was assumed."""
    given = saved.assumptions
    lines = [
        f"{given.jobs} jobs, {saved.useful_audio / 3600:.0f} hours of audio; at most "
        f"{policy.max_size} instances, {policy.backlog_target:g} waiting messages per instance",
        "Assumed, not measured: "
        f"{given.speed:g} audio seconds per second and instance, "
        f"{given.interruptions_per_hour:g} interruptions per instance hour "
        f"({given.without_notice:.0%} without notice), {given.boot_seconds:g} s from launch to "
        f"ready, ${price:g} per hour on demand, ${spot_price:g} on spot, seed {given.seed}",
        "",
        f"{'':34}{'checkpoints':>14}{'none':>14}{'ideal':>14}",
    ]

    def row(name: str, first: str, second: str, ideal: str = "") -> None:
        lines.append(f"{name:34}{first:>14}{second:>14}{ideal:>14}")

    ideal_hours = saved.useful_audio / given.speed / 3600
    row(
        "time to drain (h)",
        f"{saved.drained_at / 3600:.2f}",
        f"{lost.drained_at / 3600:.2f}",
        f"{saved.ideal_seconds / 3600:.2f}",
    )
    row(
        "  against the ideal",
        f"{saved.drained_at / saved.ideal_seconds:.3f}",
        f"{lost.drained_at / lost.ideal_seconds:.3f}",
        "1",
    )
    row(
        "instance hours",
        f"{saved.instance_hours:.1f}",
        f"{lost.instance_hours:.1f}",
        f"{ideal_hours:.1f}",
    )
    for name, dollars in (("cost on spot ($)", spot_price), ("cost on demand ($)", price)):
        row(
            name,
            f"{saved.instance_hours * dollars:.2f}",
            f"{lost.instance_hours * dollars:.2f}",
            f"{ideal_hours * dollars:.2f}",
        )
    hours = saved.useful_audio / 3600
    row(
        "  on spot, per audio hour ($)",
        f"{saved.instance_hours * spot_price / hours:.5f}",
        f"{lost.instance_hours * spot_price / hours:.5f}",
        f"{ideal_hours * spot_price / hours:.5f}",
    )
    row(
        "audio decoded again (h)",
        f"{saved.redone_audio / 3600:.1f}",
        f"{lost.redone_audio / 3600:.1f}",
        "0",
    )
    row("interruptions", str(saved.interruptions), str(lost.interruptions))
    row("  without notice", str(saved.without_notice), str(lost.without_notice))
    row("launches", str(saved.launches), str(lost.launches))
    row("most deliveries of one message", str(saved.most_receives), str(lost.most_receives), "1")
    row("dead-lettered by interruptions", str(saved.dead_lettered), str(lost.dead_lettered), "0")
    row("jobs completed", str(saved.completed), str(lost.completed), str(given.jobs))
    return "\n".join(lines)


def draw(path: Path, policy: Policy, saved: Outcome, lost: Outcome) -> None:
    """Writes the chart: backlog, instances, and audio decoded again, over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    given = saved.assumptions
    figure, (backlog, instances, redone) = plt.subplots(3, 1, sharex=True, figsize=(9, 9))
    hours = [sample.minute / 60 for sample in saved.samples]
    backlog.plot(hours, [s.waiting + s.in_flight for s in saved.samples], label="simulated")
    backlog.plot(
        [0, saved.ideal_seconds / 3600],
        [given.jobs, 0],
        linestyle="--",
        color="gray",
        label=f"ideal: {policy.max_size} instances from the first second",
    )
    backlog.set_ylabel("jobs not finished")
    backlog.set_title(
        f"{given.jobs} jobs, {given.speed:g} audio s per s per instance (assumed), "
        f"{saved.interruptions} interruptions"
    )
    instances.step(hours, [s.desired for s in saved.samples], where="post", label="desired")
    instances.step(hours, [s.instances for s in saved.samples], where="post", label="running")
    instances.set_ylabel("instances")
    for outcome, label in ((lost, "without checkpoints"), (saved, "with checkpoints")):
        redone.plot(
            [s.minute / 60 for s in outcome.samples],
            [s.redone_seconds / 3600 for s in outcome.samples],
            label=label,
        )
    redone.set_ylabel("audio decoded again (h)")
    redone.set_xlabel("hours since the backlog arrived")
    for axes in (backlog, instances, redone):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="best")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def summary(policy: Policy, saved: Outcome, lost: Outcome) -> dict[str, Any]:
    """The result for programs; without the samples."""

    def plain(outcome: Outcome) -> dict[str, Any]:
        return {name: value for name, value in asdict(outcome).items() if name != "samples"}

    return {
        "policy": asdict(policy),
        "with_checkpoints": plain(saved),
        "without_checkpoints": plain(lost),
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Assumptions()
    parser = argparse.ArgumentParser(
        description="Simulates the fleet of config/cloudformation.yaml on a backlog.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="the template to read")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the template, such as MaxSize=50; repeatable",
    )
    parser.add_argument("--jobs", type=int, default=default.jobs)
    parser.add_argument(
        "--job-seconds", type=float, default=default.job_seconds, help="mean length of a recording"
    )
    parser.add_argument(
        "--long-share", type=float, default=default.long_share, help="share of long recordings"
    )
    parser.add_argument("--long-seconds", type=float, default=default.long_seconds)
    parser.add_argument(
        "--speed", type=float, default=default.speed, help="audio seconds per second, one instance"
    )
    parser.add_argument("--batch-windows", type=int, default=default.batch_windows)
    parser.add_argument("--boot-seconds", type=float, default=default.boot_seconds)
    parser.add_argument(
        "--interruptions-per-hour",
        type=float,
        default=default.interruptions_per_hour,
        help="of one instance; the default is meant to be worse than what spot does",
    )
    parser.add_argument(
        "--without-notice",
        type=float,
        default=default.without_notice,
        help="share of interruptions that kill at once",
    )
    parser.add_argument("--price", type=float, default=0.526, help="dollars per hour on demand")
    parser.add_argument("--spot-price", type=float, default=0.16, help="dollars per hour on spot")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--output", type=Path, help="write a chart (PNG) here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args(argv)
    for name in ("jobs", "job_seconds", "long_seconds", "speed", "batch_windows"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above zero")
    for name in ("long_share", "without_notice"):
        if not 0 <= getattr(arguments, name) <= 1:
            parser.error(f"--{name.replace('_', '-')} must be between 0 and 1")
    for entry in arguments.parameter:
        if "=" not in entry:
            parser.error(f"--parameter '{entry}': write NAME=VALUE")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the simulation with and without checkpoints, prints and draws the result."""
    arguments = _arguments(argv)
    parameters = dict(entry.split("=", 1) for entry in arguments.parameter)
    try:
        policy = read_policy(arguments.template, parameters)
    except ValueError as error:
        sys.stderr.write(f"simulate-fleet.py: {error}\n")
        return 2
    given = Assumptions(
        jobs=arguments.jobs,
        job_seconds=arguments.job_seconds,
        long_share=arguments.long_share,
        long_seconds=arguments.long_seconds,
        speed=arguments.speed,
        batch_windows=arguments.batch_windows,
        boot_seconds=arguments.boot_seconds,
        interruptions_per_hour=arguments.interruptions_per_hour,
        without_notice=arguments.without_notice,
        seed=arguments.seed,
    )
    saved = Fleet(policy, given).run()
    lost = Fleet(policy, replace(given, checkpoints=False)).run()
    print(report(policy, saved, lost, arguments.price, arguments.spot_price))
    if arguments.json:
        arguments.json.write_text(
            json.dumps(summary(policy, saved, lost), indent=2) + "\n", encoding="utf-8"
        )
    if arguments.output:
        draw(arguments.output, policy, saved, lost)
        print(f"\nchart: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
