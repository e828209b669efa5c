"""WhisperX's pyannote speech detector, for whoever prefers it to Silero.

It looks at a whole file at once and runs on torch, so it lives in the main process: memory
grows with the file, and it is far slower than Silero. pyannote turns TF32 off for the process with
every call; it is set again after each.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from worker.speech.model import device as devices
from worker.speech.model.choices import Device
from worker.speech.windows import SAMPLE_RATE, WINDOW_SECONDS, Span, Window

ONSET, OFFSET = 0.500, 0.363
"""WhisperX's thresholds (whisperx.asr.load_model)."""


class PyannoteDetector:
    """The detector, loaded once; one file at a time."""

    def __init__(self, device: Device) -> None:
        import torch
        from whisperx.vads import Pyannote

        self._device = device
        self._lock = threading.Lock()
        self._vad = Pyannote(torch.device(str(device)), vad_onset=ONSET, vad_offset=OFFSET)
        devices.tune_torch(device)

    def windows(self, samples: NDArray[np.float32]) -> list[Window]:
        """WhisperX's merged windows of at most 30 s, silence inside them kept.

        Args:
            samples: float32 [n] at 16 kHz, the whole file.
        """
        if not len(samples):
            return []
        with self._lock:
            scores = self._vad(
                {"waveform": self._vad.preprocess_audio(samples), "sample_rate": SAMPLE_RATE}
            )
            merged = self._vad.merge_chunks(scores, WINDOW_SECONDS, onset=ONSET, offset=OFFSET)
            devices.tune_torch(self._device)
        spans = [
            Span(
                int(chunk["start"] * SAMPLE_RATE),
                min(int(chunk["end"] * SAMPLE_RATE), len(samples)),
                speech=tuple(
                    (int(start * SAMPLE_RATE), min(int(end * SAMPLE_RATE), len(samples)))
                    for start, end in chunk["segments"]
                ),
            )
            for chunk in merged
        ]
        kept = [span for span in spans if span.length > 0]
        return [Window(index, (span,)) for index, span in enumerate(kept)]
