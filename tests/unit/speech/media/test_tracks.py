"""Which track is taken, and what is said of the others."""

from __future__ import annotations

from worker.speech.media.tracks import Track, TrackOrder, left_out, listed, note, preferred


def numbers(tracks: list[Track]) -> list[int]:
    return [track.number for track in preferred(tracks)]


def test_marked_tracks_come_first_and_those_without_a_decoder_never() -> None:
    assert numbers([Track(0, "aac"), Track(1, "aac")]) == [0, 1]
    assert numbers([Track(0, "aac"), Track(1, "aac", marked=True)]) == [1, 0]
    assert numbers([Track(0, "aac", marked=True), Track(1, "aac", marked=True)]) == [0, 1]
    assert numbers([Track(0, None, marked=True), Track(1, "aac")]) == [1]


def test_a_file_of_one_track_needs_no_note() -> None:
    assert note([Track(0, "aac")], Track(0, "aac"), ()) == []


def test_the_note_names_the_track_and_why_others_were_left_out() -> None:
    tracks = [
        Track(0, "aac", marked=True),
        Track(1, "aac", language="ger", title="Kommentar\n\x1b[31m"),
        Track(2, None, language="und"),
        Track(3, "opus"),
    ]
    assert note(tracks, tracks[1], {0}) == [
        "Of 4 audio tracks, counted from 0, track 1 (ger, 'Kommentar[31m') was transcribed; "
        "left out: 0 (default) without sound, 2 without a decoder, 3"
    ]


def test_a_track_that_was_read_behind_the_first_is_not_left_out() -> None:
    tracks = [Track(0, "mp2"), Track(1, "mp2")]
    assert note(tracks, tracks[0], (), later={1}) == []


def test_a_title_is_shown_in_part() -> None:
    (sentence,) = note([Track(0, "aac"), Track(1, "aac", title="x" * 500)], Track(0, "aac"), ())
    assert "x" * 40 in sentence
    assert "x" * 41 not in sentence


def test_many_tracks_are_named_in_part() -> None:
    tracks = [Track(number, "aac") for number in range(40)]
    assert listed(tracks[:3]) == "0, 1, 2"
    assert listed(tracks).endswith("11, and 28 more")


def test_where_all_tracks_are_wanted_those_that_can_t_be_decoded_are_named() -> None:
    tracks = [Track(0, "aac"), Track(1, None, language="ger")]
    assert left_out(tracks, tracks) == []
    assert left_out(tracks, tracks[:1]) == [
        "Of 2 audio tracks, counted from 0, those that can't be decoded were left out: 1 (ger)"
    ]


def own(tracks: int, order: list[int]) -> list[int]:
    found = TrackOrder(tracks)
    for track in order:
        found.add(track)
    return found.own()


def test_tracks_that_run_beside_each_other_are_read_by_themselves() -> None:
    assert own(3, [0, 1, 2] * 4) == [0, 1, 2]
    assert own(2, [0] * 4 + [1, 0, 1] + [0] * 4) == [0, 1]
    assert own(2, [1, 1, 1]) == [0, 1], "one that has no packets is behind nothing"
    assert own(1, []) == [0]


def test_tracks_that_begin_where_the_others_have_ended_are_read_behind_them() -> None:
    assert own(4, [0, 1] * 3 + [2, 3] * 3) == [0, 1]
    # A parser kept the first two's last packets until the end of the file.
    assert own(4, [0, 1] * 3 + [2, 3] * 3 + [0, 1]) == [0, 1]
    assert own(2, [0] * 3 + [1] * 3) == [0]
    assert own(3, [2] * 3 + [0, 1] * 3) == [1, 2], "behind one track one is read"
