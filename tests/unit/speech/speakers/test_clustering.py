from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyannote.audio.pipelines.clustering import AgglomerativeClustering

from worker.speech.speakers import clustering
from worker.speech.speakers.clustering import cluster_by_distance, evenly
from worker.speech.speakers.pyannote_clustering import PyannoteClustering
from worker.speech.speakers.reconstruction import ABSENT, Grid

CHUNKS = Grid(10.0, 1.0)


class Heard(NamedTuple):
    """Chunks of 10 s with two speakers each, who speak one after the other."""

    embeddings: NDArray[np.float32]
    active: NDArray[np.bool_]


def of_speakers(who: NDArray[np.int_], *, spread: float = 0.3) -> Heard:
    """Chunks of speakers who have nothing in common.

    Args:
        who: [chunks, 2]: which speakers; a negative one is silent.
        spread: how far a speaker's embeddings lie from their centroid, whose length is 1.
    """
    random = np.random.default_rng(3)
    centroids = random.standard_normal((who.max() + 1, 192)) / np.sqrt(192)
    noise = random.standard_normal((*who.shape, 192)) / np.sqrt(192)
    active = np.zeros((len(who), 100, 2), np.bool_)
    active[:, :50, 0], active[:, 50:, 1] = True, True
    active &= (who >= 0)[:, None]
    embeddings = np.where((who >= 0)[..., None], centroids[who] + spread * noise, np.nan)
    return Heard(embeddings.astype(np.float32), active)


def taking_turns(chunks: int, speakers: int) -> NDArray[np.int_]:
    return np.stack([np.arange(chunks), np.arange(chunks) + 1], axis=1) % speakers


def pairs_of(one: NDArray[np.int_], other: NDArray[np.int_]) -> int:
    """How many different pairs of labels there are: as few as labels if both divide alike."""
    return len(Counter(zip(one.reshape(-1).tolist(), other.reshape(-1).tolist(), strict=True)))


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_what_is_kept_is_spread_evenly(number: int, most: int) -> None:
    kept = evenly(number, most)
    assert len(kept) == min(number, most)
    assert (np.diff(kept) >= 1).all()
    if len(kept) > 1:
        assert np.ptp(np.diff(kept)) <= 1
        assert (kept[0], kept[-1]) == (0, number - 1)


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(8, 40))
def test_each_speaker_is_a_cluster(speakers: int, chunks: int) -> None:
    who = taking_turns(chunks * speakers, speakers)
    found = cluster_by_distance(*of_speakers(who), CHUNKS)
    assert len(np.unique(found)) == pairs_of(who, found) == speakers


def test_who_is_silent_or_unknown_is_in_no_cluster() -> None:
    who = taking_turns(40, 2)
    who[::4, 1] = -1
    heard = of_speakers(who)
    heard.embeddings[7, 0] = np.nan
    found = cluster_by_distance(*heard, CHUNKS)
    assert found[7, 0] == ABSENT
    assert (found[::4, 1] == ABSENT).all()
    assert np.count_nonzero(found == ABSENT) == 11


def test_a_cluster_of_too_few_seconds_is_no_speaker() -> None:
    """Two chunks of 5 s, of which each second lies in ten, are one second of speech."""
    who = taking_turns(40, 2)
    who[20:22, 0] = 2
    assert len(np.unique(cluster_by_distance(*of_speakers(who), CHUNKS))) == 2
    who[20:26, 0] = 2
    assert len(np.unique(cluster_by_distance(*of_speakers(who), CHUNKS))) == 3


def test_short_utterances_that_sound_alike_are_one_speaker_together() -> None:
    """Apart they are too short, and either is as far from the other speakers."""
    who = taking_turns(60, 2)
    who[10:13, 0] = who[40:43, 0] = 2
    heard = of_speakers(who)
    # 1.1 apart, where the other speakers are 1.4 from both.
    heard.embeddings[40:43, 0, :96] *= -0.2
    found = cluster_by_distance(*heard, CHUNKS)
    assert len(np.unique(found)) == 3
    assert len({found[10, 0], found[11, 0], found[40, 0], found[41, 0]}) == 1


def test_what_lasts_in_a_voice_makes_no_speaker_of_its_own() -> None:
    """However much speech two centroids stand for, as far apart as one speaker's may be they join.

    Of what is 0.62 apart chance explains all but 0.43 from eight seconds on, and not less beyond.
    """
    who = taking_turns(800, 2)
    heard = of_speakers(who, spread=0.0)
    unit = heard.embeddings / np.linalg.norm(heard.embeddings, axis=2, keepdims=True)
    aside = np.linalg.qr(unit.reshape(-1, 192)[:2].T, mode="complete")[0][:, 2]
    other = (who == 0) & (np.arange(800)[:, None] >= 400)
    apart = 2 * np.arcsin(0.62 / 2)
    unit[other] = np.cos(apart) * unit[other] + np.sin(apart) * aside
    found = cluster_by_distance(unit.astype(np.float32), heard.active, CHUNKS)
    assert len(np.unique(found)) == pairs_of(who, found) == 2


def test_where_all_speak_briefly_there_is_one_speaker() -> None:
    heard = of_speakers(taking_turns(1, 2))
    heard.active[:, 10:] = False
    assert cluster_by_distance(*heard, CHUNKS).tolist() == [[0, ABSENT]]


@pytest.mark.parametrize(("least", "most", "speakers"), [(1, 1, 1), (1, 3, 3), (6, None, 6)])
def test_bounds_on_the_number_of_speakers_hold(least: int, most: int | None, speakers: int) -> None:
    heard = of_speakers(taking_turns(200, 4))
    found = cluster_by_distance(*heard, CHUNKS, least=least, most=most)
    assert len(np.unique(found)) == speakers


def test_no_more_speakers_are_made_than_there_is_speech_for() -> None:
    heard = of_speakers(taking_turns(8, 2))  # 17 s, and each needs 2
    found = cluster_by_distance(*heard, CHUNKS, least=30)
    assert len(np.unique(found)) == 8


@pytest.mark.parametrize(("chunks", "speakers"), [(1, 2), (2, 3), (2, 4)])
@pytest.mark.parametrize("most", [None, 3, 6])
def test_no_more_speakers_are_made_than_there_are_embeddings(
    chunks: int, speakers: int, most: int | None
) -> None:
    """A chunk holds two embeddings; there is speech for five speakers and more."""
    heard = of_speakers(np.arange(2 * chunks).reshape(chunks, 2) % speakers)
    found = cluster_by_distance(*heard, CHUNKS, least=3, most=most)
    assert len(np.unique(found)) == min(2 * chunks, max(speakers, 3), most or 6)


def test_no_more_speakers_are_made_than_a_bound_allows_of_one_embedding() -> None:
    heard = of_speakers(np.array([[0, -1]]))
    assert cluster_by_distance(*heard, CHUNKS, least=3, most=4).tolist() == [[0, ABSENT]]


def test_each_joins_the_nearest_as_if_all_distances_were_made_anew() -> None:
    """After a join the nearest of others may have gone, come nearer or moved away."""
    random = np.random.default_rng(8)
    embeddings = random.standard_normal((60, 4))
    seconds = random.uniform(0.5, 20, 60)
    groups = clustering._Groups(embeddings, seconds, np.arange(60), lambda _: None)
    groups.join_nearest(spread=0.8, most=9)
    assert np.allclose(groups.centroids, joined_one_by_one(embeddings, seconds, 0.8, 9))


def joined_one_by_one(
    embeddings: NDArray[np.float64], seconds: NDArray[np.float64], spread: float, most: int
) -> NDArray[np.float64]:
    groups = [([at], length) for at, length in enumerate(seconds.tolist())]
    while len(groups) > most:
        centroids = [embeddings[members].mean(axis=0) for members, _ in groups]
        apart = {
            (one, other): np.square(centroids[one] - centroids[other]).sum()
            - spread / min(groups[one][1], clustering.MUCH_SECONDS)
            - spread / min(groups[other][1], clustering.MUCH_SECONDS)
            for one, other in combinations(range(len(groups)), 2)
        }
        one, other = min(apart, key=lambda pair: apart[pair])
        members, length = groups.pop(other)
        groups[one] = (groups[one][0] + members, groups[one][1] + length)
    return np.stack([embeddings[members].mean(axis=0) for members, _ in groups])


def test_progress_is_told_while_speakers_are_joined() -> None:
    told: list[float] = []
    heard = of_speakers(taking_turns(60, 30))
    cluster_by_distance(*heard, CHUNKS, most=2, progress=told.append)
    assert told == sorted(told)
    assert (len(told) > 20, told[-1]) == (True, 1.0)


def test_a_sample_of_all_embeddings_finds_the_same_speakers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = taking_turns(400, 5)
    every = cluster_by_distance(*of_speakers(who), CHUNKS)
    monkeypatch.setattr(clustering, "MOST_EMBEDDINGS", 100)
    some = cluster_by_distance(*of_speakers(who), CHUNKS)
    assert len(np.unique(every)) == len(np.unique(some)) == pairs_of(every, some) == 5


def agglomerative() -> AgglomerativeClustering:
    made = AgglomerativeClustering(metric="cosine")
    made.instantiate({"method": "centroid", "min_cluster_size": 3, "threshold": 0.65})
    return made


def test_pyannotes_clustering_of_a_sample_finds_the_same_speakers() -> None:
    heard = of_speakers(taking_turns(400, 5))
    every = PyannoteClustering(agglomerative())(*heard, CHUNKS)
    some = PyannoteClustering(agglomerative(), 100)(*heard, CHUNKS)
    assert len(np.unique(every)) == len(np.unique(some)) == pairs_of(every, some) == 5


def test_pyannotes_clustering_gets_no_more_than_may_be_clustered() -> None:
    heard = of_speakers(taking_turns(400, 5))
    seen = []

    class Watched(AgglomerativeClustering):
        def cluster(self, embeddings: Any, *args: Any, **bounds: Any) -> Any:
            seen.append(len(embeddings))
            return super().cluster(embeddings, *args, **bounds)

    made = Watched(metric="cosine")
    made.instantiate({"method": "centroid", "min_cluster_size": 3, "threshold": 0.65})
    PyannoteClustering(made, 100)(*heard, CHUNKS)
    assert seen == [100]


@pytest.mark.parametrize(("least", "most", "speakers"), [(1, 1, 1), (1, 3, 3), (3, 3, 3)])
def test_pyannotes_clustering_keeps_bounds(
    least: int, most: int, speakers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = of_speakers(taking_turns(60, 4))
    found = PyannoteClustering(agglomerative())(*heard, CHUNKS, least=least, most=most)
    assert len(np.unique(found)) == speakers
    PyannoteClustering(agglomerative())(*heard, CHUNKS, least=29)
    assert capsys.readouterr().out == ""
