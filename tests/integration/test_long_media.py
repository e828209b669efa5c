"""Two hours with holes in them: memory as for ten minutes, and the end where a player has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.conftest import REPOSITORY
from tests.fakes.media import encode, tone

EVERY, HOLE = 60.0, 5.0
"""Seconds from one hole to the next, and of each."""

MORE_BYTES = 16 << 20
"""That two hours may take beyond ten minutes: an index has some words for each packet."""

CHILD = """
import sys
from pathlib import Path
from worker.speech.media.reader import AudioLimits, AudioReader

last = 0
with AudioReader(Path(sys.argv[1]), AudioLimits()) as reader:
    for piece in reader:
        loud = abs(piece).max(initial=0.0) > 0.1
        last = reader.samples if loud else last
# The peak of this program alone: what getrusage gives has its parent's in it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(reader.samples / 16_000, last / 16_000, 1_024 * int(status["VmHWM"].split()[0]))
"""


def with_holes(path: Path, codec: str, rate: int, minutes: int) -> Path:
    """A tone in which the last seconds of each minute have no packets.

    One minute is encoded, and its packets are written again and again: that takes seconds.
    """
    minute = encode(path.with_name("minute.mka"), tone(EVERY - HOLE, rate), codec=codec, rate=rate)
    with av.open(str(minute)) as once, av.open(str(path), "w") as out:
        sound = once.streams.audio[0]
        stream = out.add_stream_from_template(sound)
        clock = sound.time_base
        assert clock is not None
        packets = [
            (bytes(packet), packet.pts) for packet in once.demux(sound) if packet.pts is not None
        ]
        for number in range(minutes):
            for data, at in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, clock
                packet.pts = packet.dts = at + round(number * EVERY / clock)
                out.mux(packet)
    return path


def read(path: Path) -> tuple[float, float, int]:
    """Seconds that there are, those at which the last sound ends, and the peak of memory."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    seconds, last, peak = done.stdout.split()
    return float(seconds), float(last), int(peak)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("ending", "codec", "rate"), [("mka", "libopus", 48_000), ("m4a", "aac", 16_000)]
)
def test_memory_is_flat_over_two_hours_with_holes(
    tmp_path: Path,
    ending: str,
    codec: str,
    rate: int,
    record_property: Callable[[str, object], None],
) -> None:
    peaks = []
    for minutes in (10, 120):
        path = with_holes(tmp_path / f"{minutes}.{ending}", codec, rate, minutes)
        seconds, last, peak = read(path)
        end = minutes * EVERY - HOLE
        assert seconds == pytest.approx(end, abs=0.15)
        assert last == pytest.approx(end, abs=0.15)
        peaks.append(peak)
    record_property(
        "figure",
        f"{codec} with holes: {peaks[0] >> 20} MiB at the most in 10 minutes, {peaks[1] >> 20} MiB "
        "in 2 hours",
    )
    assert peaks[1] < peaks[0] + MORE_BYTES
