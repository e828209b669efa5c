from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from worker.aws.poweroff import INHIBITED_SECONDS, PowerOff, outstayed
from worker.errors import MachineError

UPGRADE = "apt-get 0 root 812 apt-get shutdown APT is installing or removing packages block"
LISTED = f"""\
Unattended Upgrades 0 root 790 unattended-upgr shutdown  Stop ongoing upgrades  delay
{UPGRADE}
Desktop             0 root 999 daemon          sleep     before a shutdown      block
"""


class Machine:
    """A machine whose systemctl and systemd-inhibit are shell commands; time is set by hand."""

    def __init__(self, folder: Path, *, listed: str = "", systemctl: str = "true") -> None:
        self._listed = folder / "listed"
        self._asked = folder / "asked"
        self.hold(listed)
        self.now = 0.0
        self.power = PowerOff(
            ["sh", "-c", f'echo "$0 $@" >> {self._asked}; {systemctl}', "poweroff"],
            ["cat", str(self._listed)],
            clock=lambda: self.now,
        )

    def hold(self, text: str) -> None:
        self._listed.write_text(text)

    @property
    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []


def test_a_machine_that_nothing_blocks_goes_off(tmp_path: Path) -> None:
    machine = Machine(tmp_path, listed=LISTED.replace(UPGRADE, ""))
    assert machine.power.request()
    assert machine.asked == ["poweroff "]
    assert PowerOff(["true"], ["/no/such/command"]).request()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sh", "-c", "echo not allowed >&2; exit 4"], "failed with 4: not allowed"),
        (["/no/such/command"], "could not be run"),
    ],
)
def test_a_power_off_that_fails_says_why(command: list[str], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        PowerOff(command, ["/no/such/command"]).request()


@pytest.mark.parametrize(
    "listed",
    [
        LISTED,
        LISTED.replace("shutdown APT", "sleep:shutdown:idle APT"),
        LISTED.replace(" block", " block-weak"),
    ],
)
def test_what_blocks_is_named_and_waited_for(listed: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, listed=listed)
    with capture_logs() as events:
        assert not machine.power.request()
    (event,) = events
    assert (event["event"], event["log_level"]) == ("instance.inhibited", "warning")
    (named,) = event["inhibitors"]
    assert named.startswith("apt-get 0 root 812")
    assert named in event["message"]
    assert machine.asked == []
    machine.hold("")
    assert machine.power.request()
    assert machine.asked == ["poweroff "]


def test_one_that_comes_after_the_list_is_waited_for_too(tmp_path: Path) -> None:
    refusal = 'Operation inhibited by \\"apt\\" (PID 812)'
    machine = Machine(tmp_path, systemctl=f'echo "{refusal}" >&2; exit 1')
    assert not machine.power.request()


def test_one_that_stands_for_an_hour_is_overridden(tmp_path: Path) -> None:
    machine = Machine(tmp_path, listed=LISTED)
    for machine.now in (0, 10, INHIBITED_SECONDS - 1):
        assert not machine.power.request()
    machine.now = INHIBITED_SECONDS
    with capture_logs() as events:
        assert machine.power.request()
    assert machine.asked == ["poweroff --ignore-inhibitors"]
    (event,) = events
    assert (event["event"], event["log_level"]) == ("instance.inhibitor_overridden", "error")
    assert UPGRADE in event["message"]


def test_a_new_one_begins_a_new_hour(tmp_path: Path) -> None:
    machine = Machine(tmp_path, listed=LISTED)
    assert not machine.power.request()
    machine.now = INHIBITED_SECONDS
    machine.hold(LISTED + UPGRADE.replace("812", "977"))
    assert not machine.power.request()
    machine.hold(UPGRADE.replace("812", "977"))
    machine.now = 2 * INHIBITED_SECONDS - 1
    assert not machine.power.request()
    machine.now += 1
    assert machine.power.request()


@given(st.dictionaries(st.text(), st.floats(0, 1e6), min_size=1), st.floats(0, 2e6))
def test_none_is_overridden_that_has_stood_for_less(since: dict[str, float], now: float) -> None:
    assert outstayed(since, now) == (now - max(since.values()) >= INHIBITED_SECONDS)
