"""scripts/simulate-fleet.py: what must hold in every run, and that it reads the real policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

JOBS = 3000


@pytest.fixture(scope="module")
def policy(simulation: ModuleType, config_dir: Path) -> Any:
    return simulation.read_policy(config_dir / "cloudformation.yaml", {})


def assume(simulation: ModuleType, **changes: Any) -> Any:
    return replace(simulation.Assumptions(jobs=JOBS), **changes)


def simulate(simulation: ModuleType, policy: Any, **changes: Any) -> Any:
    return simulation.Fleet(policy, assume(simulation, **changes)).run()


def test_policy_is_the_templates(policy: Any, template: Mapping[str, Any]) -> None:
    parameters = template["Parameters"]
    assert policy.max_size == parameters["MaxSize"]["Default"]
    assert policy.backlog_target == parameters["BacklogPerInstance"]["Default"]
    assert policy.max_receives == parameters["MaxReceiveCount"]["Default"]
    assert policy.min_size == 0
    alarm = template["Resources"]["FirstInstanceAlarm"]["Properties"]
    (text,) = [m["Expression"] for m in alarm["Metrics"] if m["ReturnData"]]
    assert policy.first.text == text


def test_policy_follows_a_changed_template(
    simulation: ModuleType, config_dir: Path, tmp_path: Path
) -> None:
    text = (config_dir / "cloudformation.yaml").read_text()
    changed = tmp_path / "template.yaml"
    changed.write_text(text.replace("ScalingAdjustment: 1", "ScalingAdjustment: 3"))
    assert simulation.read_policy(changed, {}).first_adjustment == 3
    changed.write_text(text.replace("DisableScaleIn: true", "DisableScaleIn: false"))
    with pytest.raises(ValueError, match="scale-in"):
        simulation.read_policy(changed, {})


def test_unknown_parameter_is_named(simulation: ModuleType, config_dir: Path) -> None:
    with pytest.raises(ValueError, match="MaxSiez"):
        simulation.read_policy(config_dir / "cloudformation.yaml", {"MaxSiez": "3"})


@pytest.mark.parametrize(
    ("text", "visible", "desired", "expected"),
    [
        ("IF(visible > 0 AND FILL(desired, 0) < 1, 1, 0)", 5.0, 0.0, 1.0),
        ("IF(visible > 0 AND FILL(desired, 0) < 1, 1, 0)", 5.0, 2.0, 0.0),
        ("IF(visible > 0 AND FILL(desired, 0) < 1, 1, 0)", 5.0, None, 1.0),
        ("IF(visible > 0 AND FILL(desired, 0) < 1, 1, 0)", 0.0, 0.0, 0.0),
        ("IF(visible > 0 AND FILL(desired, 0) < 1, 1, 0)", None, 0.0, None),
        ("IF(desired > 0, visible / desired, 0)", 6.0, 4.0, 1.5),
        ("visible / desired", 6.0, 0.0, None),
        ("visible > 1 || desired > 1", 0.0, 2.0, 1.0),
    ],
)
def test_metric_math(
    simulation: ModuleType,
    text: str,
    visible: float | None,
    desired: float | None,
    expected: float | None,
) -> None:
    expression = simulation.Expression(text, {"visible": "Visible", "desired": "Desired"})
    assert expression.value({"Visible": visible, "Desired": desired}) == expected


def test_metric_math_that_is_not_known_is_refused(simulation: ModuleType) -> None:
    expression = simulation.Expression("ANOMALY_DETECTION_BAND(visible)", {"visible": "Visible"})
    with pytest.raises(ValueError, match="does not know"):
        expression.value({"Visible": 1.0})


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    interruptions=st.sampled_from([0.0, 0.5, 5.0]),
    without_notice=st.sampled_from([0.0, 0.3, 1.0]),
    checkpoints=st.booleans(),
    speed=st.sampled_from([10.0, 40.0]),
)
def test_every_job_is_answered_once(
    simulation: ModuleType,
    policy: Any,
    seed: int,
    interruptions: float,
    without_notice: float,
    checkpoints: bool,
    speed: float,
) -> None:
    outcome = simulate(
        simulation,
        policy,
        jobs=400,
        seed=seed,
        interruptions_per_hour=interruptions,
        without_notice=without_notice,
        checkpoints=checkpoints,
        speed=speed,
    )
    assert outcome.completed + outcome.dead_lettered == 400
    assert outcome.completed_twice == 0
    last = outcome.samples[-1]
    assert (last.waiting, last.in_flight, last.instances, last.desired) == (0, 0, 0, 0)
    # What the cards did is what was needed and what was done again, to the second.
    if not outcome.dead_lettered:
        assert outcome.decoded_audio == pytest.approx(outcome.useful_audio + outcome.redone_audio)
    assert outcome.drained_at >= outcome.ideal_seconds
    assert max(s.desired for s in outcome.samples) <= policy.max_size


def test_same_seed_same_run(simulation: ModuleType, policy: Any) -> None:
    first, second = (simulate(simulation, policy, interruptions_per_hour=2.0) for _ in range(2))
    assert first == second
    assert simulate(simulation, policy, interruptions_per_hour=2.0, seed=2) != first


def test_checkpoints_save_work(simulation: ModuleType, policy: Any) -> None:
    pair = [
        simulate(simulation, policy, interruptions_per_hour=2.0, checkpoints=c)
        for c in (True, False)
    ]
    saved, lost = pair
    assert saved.interruptions > 10
    assert saved.redone_audio < lost.redone_audio / 2
    assert saved.instance_hours < lost.instance_hours


def test_without_interruptions_nothing_is_done_twice(simulation: ModuleType, policy: Any) -> None:
    outcome = simulate(simulation, policy, interruptions_per_hour=0.0)
    assert outcome.redone_audio == 0.0
    assert outcome.most_receives == 1
    assert outcome.launches == policy.max_size


def test_fleet_leaves_zero_and_comes_back(simulation: ModuleType, policy: Any) -> None:
    outcome = simulate(simulation, policy, jobs=10, interruptions_per_hour=0.0)
    # Ten messages are below the target of one instance: the step policy brings the only one.
    assert outcome.launches == 1
    idle = outcome.ended_at - outcome.drained_at
    assert policy.idle_timeout <= idle <= policy.idle_timeout + 120


def test_fleet_grows_in_minutes(simulation: ModuleType, policy: Any) -> None:
    outcome = simulate(simulation, policy, interruptions_per_hour=0.0)
    full = next(s.minute for s in outcome.samples if s.desired == policy.max_size)
    # One metric delay to the first instance, its start, three datapoints of target tracking.
    assert 3 <= full <= 10


def test_command_prints_figures_and_draws(
    simulation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chart, figures = tmp_path / "fleet.png", tmp_path / "fleet.json"
    arguments = ["--jobs", "500", "--output", str(chart), "--json", str(figures)]
    assert simulation.main([*arguments, "--parameter", "MaxSize=4"]) == 0
    assert chart.read_bytes().startswith(b"\x89PNG")
    written = json.loads(figures.read_text())
    assert written["policy"]["max_size"] == 4
    assert written["with_checkpoints"]["completed"] == 500
    assert "not measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--speed", "0"], ["--long-share", "2"], ["--parameter", "MaxSize"], ["--jobs", "many"]],
)
def test_wrong_arguments_exit_2(simulation: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        simulation.main(arguments)
    assert refused.value.code == 2


def test_unknown_parameter_exits_2(
    simulation: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulation.main(["--parameter", "Nothing=1"]) == 2
    assert "Nothing" in capsys.readouterr().err
