from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.aws.imds import SpotNotice, is_terminating, parse_instance_action

NOW = 1_505_722_900.0  # 2017-09-18T08:21:40Z


def test_a_notice_is_read() -> None:
    notice = parse_instance_action('{"action": "stop", "time": "2017-09-18T08:22:00Z"}', NOW)
    assert notice == SpotNotice("stop", 1_505_722_920.0)
    assert notice.seconds_left(NOW) == 20
    assert notice.seconds_left(NOW + 100) == 0


def test_a_wrong_clock_gives_no_more_than_two_minutes() -> None:
    notice = parse_instance_action('{"action": "terminate", "time": "2017-09-18T09:00:00Z"}', NOW)
    assert notice.seconds_left(NOW) == 120


@given(st.text() | st.sampled_from(["[]", "{}", "null", '{"action": 1, "time": 2}']))
def test_whatever_is_there_is_a_notice(text: str) -> None:
    notice = parse_instance_action(text, NOW)
    assert 0 <= notice.seconds_left(NOW) <= 120


@given(st.datetimes().map(lambda moment: moment.isoformat()))
def test_any_time_is_read(moment: str) -> None:
    notice = parse_instance_action(f'{{"action": "terminate", "time": "{moment}"}}', NOW)
    assert 0 <= notice.seconds_left(NOW) <= 120


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ("InService", False),
        ("Standby", False),
        ("Detached", False),
        ("Warmed:Running", False),
        ("Terminated", True),
        ("Terminated\n", True),
        ("Terminating:Wait", True),
        ("Warmed:Terminated", True),
        ("Warmed:Stopped", True),
        ("Warmed:Hibernated", True),
    ],
)
def test_lifecycle_states(state: str, ends: bool) -> None:
    assert is_terminating(state) is ends
