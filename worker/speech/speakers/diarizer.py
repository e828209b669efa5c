"""Who speaks when, over a whole recording: pyannote's pipeline on int16 samples, within 2 GB.

pyannote's own `apply` holds a recording as float32, and arrays of doubles that grow with chunks x
frames x speakers. Here its models and its clustering are called one by one: of the samples only the
chunks of one call are ever float32, and what is kept of an hour doesn't grow with the number of its
speakers: a byte for each frame of each chunk and each of the three who may speak in it (3 MB, or
6 MB on a card), and their embeddings (4 MB, 8 MB). Voices are pyannote's, as VOICES.md says.

Nothing is printed or reported, and TF32 stays as it is (`Pipeline.__call__`, which turns it off, is
not called).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio.utils.signal import binarize
from pyannote.core import SlidingWindow, SlidingWindowFeature

from worker.results.speakers import Diarization, Voice
from worker.speech.model.memory import is_out_of_memory
from worker.speech.speakers.campplus import CamPlusPlus
from worker.speech.speakers.clustering import cluster_by_distance
from worker.speech.speakers.per_chunk import PerChunk
from worker.speech.speakers.pyannote_clustering import PyannoteClustering
from worker.speech.speakers.reconstruction import Grid, count_speakers, voices, who_speaks
from worker.speech.windows import SAMPLE_RATE

if TYPE_CHECKING:
    from pyannote.audio.pipelines import SpeakerDiarization

__all__ = ["Diarizer"]

_SEGMENTED, _EMBEDDED, _CLUSTERED = 0.2, 0.95, 0.98
"""Progress once all chunks are segmented, once their speakers have embeddings, and once these are
clustered: about the shares of the time on a CPU with the packaged models."""

_Scores = NDArray[np.float32] | NDArray[np.bool_]
_T = TypeVar("_T")


class Diarizer:
    """Tells the speakers of recordings apart, one recording at a time.

    Args:
        pipeline: its models are on their device; its clustering is bounded.
        name: of the model, for results.
        device: torch's name of it. On a card every call has the same shape, because memory is
            planned anew for each shape there.
        chunks_a_call: so many chunks go into a call of a model at the most; the segmentation
            says how long one is (10 s).
    """

    def __init__(
        self, pipeline: SpeakerDiarization, *, name: str, device: str, chunks_a_call: int
    ) -> None:
        self._pipeline = pipeline
        self._name = name
        self._one_shape = device != "cpu"
        self._chunks_a_call = chunks_a_call
        self._segmentation = pipeline._segmentation
        specifications = self._segmentation.model.specifications
        assert not isinstance(specifications, tuple)  # only of models with several tasks
        self._powerset = specifications.powerset
        self._embedding = PerChunk(pipeline._embedding)
        self._chunks = Grid(self._segmentation.duration, self._segmentation.step)
        frames = self._segmentation.model.receptive_field
        self._frames = Grid(frames.duration, frames.step)
        # How near embeddings of one speaker lie depends on their model; CAM++ has no pipeline.
        self._cluster = (
            cluster_by_distance
            if isinstance(getattr(pipeline._embedding, "model_", None), CamPlusPlus)
            else PyannoteClustering(pipeline.clustering)
        )

    def find(
        self,
        samples: NDArray[np.int16],
        *,
        min_speakers: int | None,
        max_speakers: int | None,
        progress: Callable[[float], None],
    ) -> Diarization:
        """Find who speaks when.

        Args:
            samples: the whole recording at 16 kHz; may be mapped from a file.
            min_speakers: at least so many are told apart, where there is enough speech for it.
            max_speakers: at most so many.
            progress: called with 0 to 1 as the work goes on.

        Raises:
            RuntimeError: the models failed. `is_out_of_memory` tells whether not even one chunk
                fitted the device's memory.
            MemoryError: the same, or that of the host ran out.
        """
        if not len(samples):
            progress(1.0)
            return Diarization(self._name, (), ())
        run = _Run(samples, self._chunks, self._chunks_a_call, progress, one_shape=self._one_shape)
        scores, active = self._segment(run)
        count = count_speakers(active, self._chunks, self._frames)
        if not count.any():
            progress(1.0)
            return Diarization(self._name, (), ())
        embeddings = self._embed(run, active)
        clusters = self._cluster(
            embeddings,
            active,
            self._chunks,
            least=min_speakers or 1,
            most=max_speakers,
            progress=_between(_EMBEDDED, _CLUSTERED, progress),
        )
        if max_speakers is not None:
            count = np.minimum(count, max_speakers).astype(np.uint8)
        speaking = who_speaks(
            scores,
            clusters,
            count,
            self._chunks,
            self._frames,
            _between(_CLUSTERED, 1.0, progress),
        )
        found = self._voices(speaking, run.seconds)
        # One at a time: whoever is heard most.
        exclusive = self._voices(speaking[:, :1], run.seconds)
        return Diarization(self._name, found, exclusive)

    def _segment(self, run: _Run) -> tuple[_Scores, NDArray[np.bool_]]:
        """Scores and activity of the speakers of each chunk: [chunks, frames, speakers]."""

        def segment(places: Sequence[int]) -> NDArray[np.float32]:
            found = self._segmentation.infer(run.waveforms(places))
            return np.asarray(found, np.float32)[: len(places)]

        calls = run.calls(range(run.chunks), segment, 0.0, _SEGMENTED)
        if self._powerset:
            active = np.concatenate([found > 0.5 for found in calls])
            return active, active
        scores = np.concatenate(list(calls))
        return scores, self._binarized(scores)

    def _binarized(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Who speaks, from scores of each speaker by itself, as pyannote decides it."""
        chunks = SlidingWindow(start=0.0, duration=self._chunks.duration, step=self._chunks.step)
        feature = SlidingWindowFeature(scores, chunks)
        onset = self._pipeline.segmentation.threshold
        return np.asarray(binarize(feature, onset=onset, initial_state=False).data > 0.5)

    def _embed(self, run: _Run, active: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Embeddings of the speakers of each chunk: [chunks, speakers, dimension]."""
        chunks, frames, speakers = active.shape
        embeddings = np.full((chunks, speakers, self._embedding.dimension), np.nan, np.float32)
        spoken = np.flatnonzero(active.any(axis=(1, 2)))
        least = self._least_frames(frames)

        def embed(places: Sequence[int]) -> NDArray[np.float32]:
            waveforms = run.waveforms(places)
            masks = np.zeros((len(waveforms), speakers, frames), np.float32)
            masks[: len(places)] = _masks(active[places], least)
            return self._embedding(waveforms, masks)[: len(places)]

        done = 0
        for found in run.calls(spoken.tolist(), embed, _SEGMENTED, _EMBEDDED):
            embeddings[spoken[done : done + len(found)]] = found
            done += len(found)
        return embeddings

    def _least_frames(self, frames: int) -> int | None:
        """How many frames without others an embedding needs; None: overlaps aren't cut out."""
        if not self._pipeline.embedding_exclude_overlap:
            return None
        embedding = self._pipeline._embedding
        samples = self._chunks.duration * embedding.sample_rate
        return math.ceil(frames * int(embedding.min_num_samples) / float(samples))

    def _voices(self, speaking: NDArray[np.int32], seconds: float) -> tuple[Voice, ...]:
        """What is heard of each speaker, none of it beyond the recording's end."""
        silence = self._pipeline.segmentation.min_duration_off
        return tuple(
            voice._replace(end=min(voice.end, seconds))
            for voice in voices(speaking, self._frames, least_silence=silence)
            if voice.start < seconds
        )


class _Run:
    """One recording's way through the models.

    Args:
        samples: the recording.
        grid: of its chunks.
        chunks_a_call: at most.
        progress: told of what is done.
        one_shape: the last call gets silent chunks, so that it is as large as the others.
    """

    def __init__(
        self,
        samples: NDArray[np.int16],
        grid: Grid,
        chunks_a_call: int,
        progress: Callable[[float], None],
        *,
        one_shape: bool,
    ) -> None:
        self._one_shape = one_shape
        self._samples = samples
        self._length = round(grid.duration * SAMPLE_RATE)
        self._step = round(grid.step * SAMPLE_RATE)
        self._chunks_a_call = chunks_a_call
        self._progress = progress
        self.seconds = len(samples) / SAMPLE_RATE
        self.chunks = 1 + math.ceil(max(0, len(samples) - self._length) / self._step)

    def waveforms(self, places: Sequence[int]) -> torch.Tensor:
        """The samples of chunks: float32 [chunks, 1, samples], zero beyond the recording's end.

        Args:
            places: which chunks.
        """
        number = self._number(places)
        waveforms = np.zeros((number, 1, self._length), np.float32)
        for row, place in enumerate(places):
            start = place * self._step
            chunk = self._samples[start : start + self._length]
            np.multiply(chunk, 1 / 32768, out=waveforms[row, 0, : len(chunk)], dtype=np.float32)
        return torch.from_numpy(waveforms)

    def calls(
        self,
        places: Sequence[int],
        call: Callable[[Sequence[int]], _T],
        begin: float,
        end: float,
    ) -> Iterator[_T]:
        """Call something with a few chunks at a time; with half as many once memory runs out.

        Args:
            places: of all chunks.
            call: given those of one call.
            begin: progress before the first call.
            end: progress after the last.

        Raises:
            RuntimeError: memory ran out with one chunk, or the call failed otherwise.
            MemoryError: memory ran out with one chunk.
        """
        done = 0
        while done < len(places):
            some = places[done : done + self._chunks_a_call]
            try:
                found = call(some)
            except (RuntimeError, MemoryError) as error:
                used = self._number(some)
                if not is_out_of_memory(error) or used == 1:
                    raise
                self._chunks_a_call = used // 2
                _release_cached()
                continue
            done += len(some)
            yield found
            self._progress(begin + (end - begin) * done / len(places))

    def _number(self, places: Sequence[int]) -> int:
        """How many chunks the call has that gets these."""
        return self._chunks_a_call if self._one_shape else len(places)


def _masks(active: NDArray[np.bool_], least: int | None) -> NDArray[np.float32]:
    """Where each speaker is heard: alone, or at all where that is too little for an embedding.

    Args:
        active: [chunks, frames, speakers].
        least: frames alone of which there must be more; None: all are taken as they are.

    Returns:
        [chunks, speakers, frames]: 1 or 0.
    """
    masks = active.transpose(0, 2, 1)
    if least is not None:
        alone = masks & (masks.sum(axis=1, keepdims=True) < 2)
        masks = np.where(alone.sum(axis=2, keepdims=True) > least, alone, masks)
    return masks.astype(np.float32)


def _between(
    begin: float, end: float, progress: Callable[[float], None]
) -> Callable[[float], None]:
    """Tells the progress of a part as that of the whole, which never falls."""
    reached = begin

    def tell(share: float) -> None:
        nonlocal reached
        reached = max(reached, begin + (end - begin) * share)
        progress(reached)

    return tell


def _release_cached() -> None:
    """Give a card's memory back that torch keeps, so that smaller shapes find room."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
