"""Which of a file's audio tracks is transcribed, and what is said of the others (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["Track", "TrackOrder", "left_out", "listed", "note", "preferred"]

_TITLE = 40
"""Characters of a track's title that a note shows: it is the sender's text, not ours."""

MOST_LISTED = 12
"""Tracks that a sentence names; films have a dozen."""


@dataclass(frozen=True, slots=True)
class Track:
    """An audio track, as its file describes it.

    Attributes:
        number: among the audio tracks, from 0.
        codec: FFmpeg's name; None where no decoder is at hand.
        marked: whether the file marks it to be played unless another is chosen.
        language: as the file writes it, mostly three letters; empty if it doesn't.
        title: as the file writes it; empty if it doesn't.
    """

    number: int
    codec: str | None
    marked: bool = False
    language: str = ""
    title: str = ""

    def described(self) -> str:
        """Its number, and what the file says of it."""
        title = "".join(letter for letter in self.title if letter.isprintable())
        title = f"'{title[:_TITLE]}'" if title.strip() else ""
        language = "".join(letter for letter in self.language if letter.isalnum())[:8]
        said = [language if language != "und" else "", title, "default" if self.marked else ""]
        words = ", ".join(word for word in said if word)
        return f"{self.number} ({words})" if words else str(self.number)


class TrackOrder:
    """Tells which tracks of a transport stream only begin where the others have ended.

    Two recordings were joined, or the sender changed its programme.

    Args:
        tracks: how many there are.
    """

    def __init__(self, tracks: int) -> None:
        self._packets = 0
        self._places: list[list[int]] = [[] for _ in range(tracks)]
        """Of each track's first packet, of its last but one, and of its last."""

    def add(self, track: int) -> bool:
        """Counts the next packet of the file, which is of a track; False: more may matter."""
        self._packets += 1
        places = self._places[track]
        self._places[track] = (
            [*places[:1], *places[-1:], self._packets] if places else [self._packets] * 3
        )
        return False

    def own(self) -> list[int]:
        """The tracks that are read by themselves, in their order.

        Of those that begin later as many are read behind the others as there are others.
        """
        begun = sorted(
            (track for track, places in enumerate(self._places) if places),
            key=lambda track: self._places[track][0],
        )
        first, later, ended = list[int](), list[int](), 0
        for track in begun:
            start, end, _ = self._places[track]
            if first and start > ended:
                later.append(track)
            else:
                first.append(track)
                # A parser may keep a stream's last packet until the end of the file.
                ended = max(ended, end)
        behind = set(sorted(later)[: len(first)])
        return [track for track in range(len(self._places)) if track not in behind]


def preferred(tracks: Sequence[Track]) -> list[Track]:
    """The tracks that can be decoded; those marked first, in their order.

    The first of them that has sound is to be taken: recorders of screens mark a track that nobody
    spoke into.
    """
    return sorted(
        (track for track in tracks if track.codec is not None),
        key=lambda track: (not track.marked, track.number),
    )


def listed(tracks: Sequence[Track]) -> str:
    """Tracks as a sentence names them."""
    more = len(tracks) - MOST_LISTED
    words = [track.described() for track in tracks[:MOST_LISTED]]
    return ", ".join([*words, f"and {more} more"] if more > 0 else words)


def left_out(tracks: Sequence[Track], able: Collection[Track]) -> list[str]:
    """What the result says where all tracks were to be transcribed: nothing if all were.

    Args:
        tracks: all of them.
        able: those that can be decoded.
    """
    others = [track for track in tracks if track not in able]
    if not others:
        return []
    return [
        f"Of {len(tracks)} audio tracks, counted from 0, those that can't be decoded were left "
        f"out: {listed(others)}"
    ]


def note(
    tracks: Sequence[Track], taken: Track, silent: Collection[int], later: Collection[int] = ()
) -> list[str]:
    """What the result says of a file's tracks: nothing if there is one.

    Args:
        tracks: all of them.
        taken: the one that is transcribed.
        silent: numbers of tracks that were found to hold no sound.
        later: numbers of tracks that turned out to go on where it ended, and were transcribed too.
    """
    others = [track for track in tracks if track.number not in {taken.number, *later}]
    if not others:
        return []
    left = []
    for track in others:
        why = " without a decoder" if track.codec is None else ""
        left.append(track.described() + (" without sound" if track.number in silent else why))
    quiet = " (no track has sound)" if taken.number in silent else ""
    return [
        f"Of {len(tracks)} audio tracks, counted from 0, track {taken.described()} was "
        f"transcribed{quiet}; left out: {', '.join(left)}"
    ]
