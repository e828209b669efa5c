"""Where is speech? Silero's model, run over a stream of samples.

The ONNX model ships inside faster-whisper, whose own wrapper starts the recurrent state anew with
every call; this one carries state and context across pieces. The other detector, pyannote, looks
at a whole file at once and needs torch: see `model.pyannote`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from faster_whisper.utils import get_assets_path
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from worker.speech.prepare.hearing import Hearing
from worker.speech.windows import FRAME

_CONTEXT = 64
"""Samples of the frame before that the model sees again; fixed by the model (16 kHz)."""

_STATE = 128
"""Width of the model's recurrent state."""


class Silero:
    """The model, loaded once per process."""

    def __init__(self) -> None:
        # Of a library that was imported before the worker was (see `worker/__init__.py`).
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # One thread: preparing runs beside decoding, on cores that decoding needs.
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        path = Path(get_assets_path()) / "silero_vad_v6.onnx"
        self._session = onnxruntime.InferenceSession(
            str(path), providers=["CPUExecutionProvider"], sess_options=options
        )

    def stream(self) -> Hearing:
        """A fresh way through the model, for one file."""
        return Hearing(self.raw_stream())

    def raw_stream(self) -> SileroStream:
        """The model itself in its first state, without levels and second hearings."""
        return SileroStream(self._session)


class SileroStream:
    """The model's recurrent state within one file."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._h = np.zeros((1, 1, _STATE), dtype=np.float32)
        self._c = np.zeros((1, 1, _STATE), dtype=np.float32)

    def fork(self) -> SileroStream:
        """See `hearing.RawStream`."""
        other = SileroStream(self._session)
        # The model returns new arrays, so these can be shared.
        other._h, other._c = self._h, self._c
        return other

    def hear(
        self, samples: NDArray[np.float32], before: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `hearing.RawStream`."""
        frames = samples.reshape(-1, FRAME)
        tails = np.concatenate([before[None, -_CONTEXT:], frames[:-1, -_CONTEXT:]])
        batch = np.concatenate([tails, frames], axis=1)
        try:
            output, self._h, self._c = self._session.run(
                None, {"input": batch, "h": self._h, "c": self._c}
            )
        except (Fail, RuntimeException) as error:
            # onnxruntime has no class of its own for a process at its memory limit.
            if "bad_alloc" in str(error):
                raise MemoryError(str(error)) from error
            raise
        return np.asarray(output, dtype=np.float32).reshape(-1)
