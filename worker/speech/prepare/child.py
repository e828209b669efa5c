"""A child process that turns one local file at a time into windows.

Media decoders crash, hang and swallow memory, so they run here: with a memory limit, a CPU
limit, no credentials and no torch (which alone maps more than the limit allows). The parent
hands in a path and reads frames back; see `frames` for the protocol and `stages` for the work.
"""

from __future__ import annotations

import contextlib
import resource
from typing import BinaryIO

from worker.errors import ErrorCode, JobError, TransientError
from worker.speech.children.framing import READY, TAKEN, error_frame, read_frame, write_frame
from worker.speech.children.rules import allowed, begin, limit_memory
from worker.speech.prepare.frames import PrepareConfig, read_config, read_task

__all__ = ["main", "serve"]

CPU_BASE_SECONDS = 60
CPU_PER_AUDIO_SECOND = 0.1
"""CPU a file may take: decoding, detection and features take 2 to 3 ms a second."""


def main() -> None:
    """The child's entry point."""
    requests, replies = begin()
    import av

    av.logging.set_level(None)
    # A broken pipe: the parent is gone, and this process with it.
    with contextlib.suppress(BrokenPipeError):
        serve(requests, replies)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers requests until the parent closes the pipe. The first frame is the configuration."""
    # A second or more of imports: only after `main` has seen to signals and the parent's death.
    from worker.speech.prepare.stages import Tools, prepare

    first = read_frame(requests.read)
    if first is None:
        return
    config = read_config(first[0])
    tools = Tools.load(config)
    limit_memory(config.memory_bytes)
    write_frame(replies, *READY)
    while (request := read_frame(requests.read)) is not None:
        task = read_task(request[0])
        _limit_cpu(config)
        write_frame(replies, *TAKEN)
        try:
            for frame in prepare(task, config, tools):
                write_frame(replies, *frame)
        except JobError as error:
            write_frame(replies, *error_frame(error.code, error.message))
        except TransientError as error:
            write_frame(replies, *error_frame(None, str(error)))
        except MemoryError:
            message = (
                f"Decoding wants more than prepare_memory_bytes = {config.memory_bytes}; "
                "convert the file to 16 kHz mono."
            )
            write_frame(replies, *error_frame(ErrorCode.DECODE_LIMIT, message))


def _limit_cpu(config: PrepareConfig) -> None:
    """Allows the next file its CPU, on top of what the process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    budget = CPU_BASE_SECONDS + CPU_PER_AUDIO_SECOND * config.max_audio_seconds
    soft = allowed(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + budget) + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
