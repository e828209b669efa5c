"""Media files made on the spot: tones in any codec, and files that lie or are damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(
    seconds: float, rate: int = 16_000, hertz: float = 440.0, loudness: float = 0.3
) -> Samples:
    """A sine, float32 [n]."""
    at = np.arange(round(seconds * rate)) / rate
    return (loudness * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def wav_bytes(
    samples: NDArray[np.generic], rate: int = 16_000, *, stated_bytes: int | None = None
) -> bytes:
    """A WAV file of int16 or float32 samples, [n] or [n, channels].

    Args:
        samples: as they stand in the file; float32 may hold what no sound card gives.
        rate: Hz.
        stated_bytes: what the header claims the data's size to be; the truth if None.
    """
    kind = 3 if samples.dtype == np.float32 else 1
    channels = samples.shape[1] if samples.ndim == 2 else 1
    width = samples.dtype.itemsize
    data = samples.tobytes()
    size = len(data) if stated_bytes is None else stated_bytes
    block = channels * width
    return (
        b"RIFF"
        + struct.pack("<I", min(0xFFFFFFFF, 36 + size))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * block, block, 8 * width)
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def write_wav(path: Path, samples: NDArray[np.generic], rate: int = 16_000) -> Path:
    """Float samples are written as int16, the way most WAV files are."""
    if samples.dtype == np.float32:
        samples = (np.clip(samples, -1, 1) * 32_767).astype("<i2")
    path.write_bytes(wav_bytes(samples, rate))
    return path


def encode(
    path: Path,
    samples: Samples,
    *,
    codec: str,
    container: str | None = None,
    rate: int = 16_000,
    layout: str = "mono",
    video: bool = False,
    audio: bool = True,
) -> Path:
    """Encodes mono samples (copied to every channel of the layout) into a file.

    Args:
        path: the file.
        samples: float32 [n] at `rate`.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the format; what the path's ending says if None.
        rate: Hz.
        layout: mono or stereo.
        video: whether a black picture, a second long, comes with it.
        audio: whether the sound comes at all.
    """
    with av.open(str(path), "w", format=container) as out:
        if video:
            picture = out.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        if audio:
            sound = cast("AudioStream", out.add_stream(codec, rate=rate, layout=layout))
        if video:
            for _ in range(10):
                black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                out.mux(picture.encode(black))
            out.mux(picture.encode(None))
        if not audio:
            return path
        channels = 2 if layout == "stereo" else 1
        whole = av.AudioFrame.from_ndarray(
            np.repeat(samples[None], channels, 0), format="fltp", layout=layout
        )
        whole.sample_rate = rate
        whole.pts = 0
        context = sound.codec_context
        resampler = av.AudioResampler(format=context.format.name, layout=layout, rate=rate)
        fifo = av.AudioFifo()
        for frame in resampler.resample(whole):
            fifo.write(frame)
        size = context.frame_size or 1024
        while (piece := fifo.read(size) or fifo.read(size, partial=True)) is not None:
            out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
    return path
