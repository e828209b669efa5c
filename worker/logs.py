"""Log lines: set up once, one shape for ours and for third parties', no secrets in any.

A line has a stable `event` name for programs and a `message` for people:

    log.info("job.completed", message="Transcription completed in 12.34 seconds", job_id=job_id)

comes out as

    2026-11-24 14:00:00 INFO  Transcription completed in 12.34 seconds  event=job.completed ...

or, as JSON, as one object with the same keys. Times are UTC. Loggers hold no context of their
own: bind what a thread needs (`log.bind(job_id=...)`) and pass the bound logger on, because
context variables do not follow into threads.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import logging.handlers
import math
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Any, Final, Literal

import structlog

from worker.errors import SettingsError
from worker.redact import HIDDEN, printable, redact

__all__ = ["LogFile", "Logger", "configure", "get_logger"]

Logger = structlog.stdlib.BoundLogger

FOREIGN_EVENT: Final = "library.log"
"""The event name of lines that third parties log; their logger's name says whose they are."""

_NEVER_LOGGED: Final = frozenset(
    {"text", "transcript", "prompt", "hotwords", "vocabulary", "vocabulary_filter", "body"}
)
"""Keys whose values are a customer's words, whoever logs them."""

_FILE_MODE: Final = 0o640
"""Of a log file that is made: its owner writes, its group reads."""

REOPEN_SECONDS: Final = 1.0
"""How long a log file that can't be opened is left alone before it is tried again."""


def get_logger(name: str) -> Logger:
    """The logger of a module; call it with `__name__`."""
    return structlog.stdlib.get_logger(name)


def configure(
    level: str = "INFO", fmt: Literal["text", "json"] = "text", file: Path | None = None
) -> None:
    """Send all log lines of the process to stderr or to `file`. May be called again.

    Third parties log from WARNING up only: below that botocore logs signed headers and
    speech libraries log transcripts.

    Args:
        level: least severe level of ours that is logged (DEBUG, INFO, WARNING, ERROR).
        fmt: lines for a person, or one JSON object a line.
        file: a log file that may be rotated at any time; stderr if None.

    Raises:
        SettingsError: `file` can't be opened for writing.
    """
    global _handler
    handler = LogFile(file) if file is not None else _Stderr()
    handler.setFormatter(_formatter(fmt))
    root = logging.getLogger()
    root.addHandler(handler)
    if _handler is not None:
        root.removeHandler(_handler)
        _handler.close()
    _handler = handler
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.getLogger("worker").setLevel(level)

    logging.captureWarnings(True)
    # WhisperX writes to stdout by itself unless its logger already has a handler.
    logging.getLogger("whisperx").addHandler(logging.NullHandler())


_handler: logging.Handler | None = None
"""What `configure` installed last, and replaces when it is called again."""


class _Stderr(logging.Handler):
    """Lines to whatever stderr is at that moment (a progress display replaces it)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _complain(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # whatever a formatter does, logging must not raise
            self.handleError(record)


class LogFile(logging.handlers.WatchedFileHandler):
    """A log file that logrotate may rename, replace, truncate or delete while we write.

    As in the base class the path is compared with the open file before each line, and opened
    again if it is another file by now. What is different:

    - The new file is opened before the old one is closed. If it can't be opened, lines go on
      into the old one; the base class would have none then, and raise in the code that logs.
    - Each line is one `write` to a descriptor in append mode, past any buffer: several processes
      may share the file, after a truncation a line lands at the file's new end (no hole), and
      nothing of a line that failed for want of space is written later.
    - A line that can't be written goes to stderr instead.

    Raises:
        SettingsError: the file can't be opened at first.
    """

    def __init__(self, path: Path) -> None:
        self._failed_at = -math.inf
        try:
            super().__init__(path)
        except OSError as error:
            raise SettingsError(
                f"log_file = {str(path)!r} can't be written: {error.strerror}; give a path in a "
                "directory that exists and that the worker's user may write to"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never raises."""
        try:
            line = self.format(record) + self.terminator
        except Exception:  # noqa: BLE001  # whatever a formatter does, logging must not raise
            self.handleError(record)
            return
        try:
            if self.stream is None:
                raise OSError("the log is closed")
            self.reopenIfNeeded()
            data = line.encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(self.stream.fileno(), data) :]
        except OSError as error:
            _complain(f"{self.baseFilename}: {error}; this line stands here instead: {line}")

    def reopenIfNeeded(self) -> None:  # noqa: N802  # the base class's name
        """Open the path again if it is another file by now; after a failure, a second later."""
        try:
            found = Path(self.baseFilename).stat()
            if (found.st_dev, found.st_ino) == (self.dev, self.ino):
                return
        except OSError:
            pass  # renamed or deleted and not yet made again: opening makes it
        if time.monotonic() - self._failed_at < REOPEN_SECONDS:
            return
        try:
            stream = self._open()
        except OSError as error:
            self._failed_at = time.monotonic()
            _complain(
                f"{self.baseFilename}: can't be opened again: {error}; writing on to the old file\n"
            )
            return
        old, self.stream = self.stream, stream
        self._statstream()
        if old is not None:
            old.close()

    def _open(self) -> io.TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, _FILE_MODE)

        return open(self.baseFilename, "a", encoding="utf-8", opener=opener)


def _complain(text: str) -> None:
    """Write to stderr; where it is closed or a broken pipe, the text is lost without an error."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(text)


def _timestamp(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    record = event.get("_record")
    created = record.created if isinstance(record, logging.LogRecord) else time.time()
    event["timestamp"] = datetime.fromtimestamp(created, UTC)
    return event


def _name_foreign(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    """A third party's line has a text where ours has an event name."""
    event["message"] = str(event["event"]).strip()
    event["event"] = FOREIGN_EVENT
    return event


def _tidy(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """One order of keys, floats of a readable length, nothing secret."""
    first = {
        "timestamp": event.pop("timestamp"),
        "level": event.pop("level"),
        "message": event.pop("message", event["event"]),
        "event": event.pop("event"),
    }
    last = {name: event.pop(name) for name in ("logger", "exception") if name in event}
    return {
        name: HIDDEN if name in _NEVER_LOGGED else _clean(value)
        for name, value in (first | dict(event) | last).items()
    }


def _clean(value: object) -> object:
    match value:
        case str():
            return redact(value)
        case float():
            return round(value, 3) if math.isfinite(value) else str(value)
        case bool() | int() | None | datetime():
            return value
        case Mapping():
            return {str(name): _clean(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
        case _:
            return redact(str(value))


def _text_line(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    values = dict(event)
    when = values.pop("timestamp").strftime("%Y-%m-%d %H:%M:%S")
    level = values.pop("level").upper()
    message = printable(str(values.pop("message")))
    trace = values.pop("exception", None)
    pairs = " ".join(f"{name}={_text_value(value)}" for name, value in values.items())
    line = f"{when} {level:<5} {message}  {pairs}"
    # Indented, so that no line of an exception's text can pass for a log line.
    return f"{line}\n{indent(trace, '    ')}" if trace else line


def _text_value(value: object) -> str:
    if isinstance(value, str):
        plain = value and value.isprintable() and not set(value) & set(' "=')
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)


def _json_line(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    when = event["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({**event, "timestamp": when}, ensure_ascii=False, default=str)


def _formatter(fmt: Literal["text", "json"]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _tidy,
            _json_line if fmt == "json" else _text_line,
        ],
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _timestamp,
            _name_foreign,
        ],
    )


# Set at import, so that a module's logger works in any order of imports; where lines go is
# for `configure` (or for the application that uses `worker.speech` as a library) to say.
if not structlog.is_configured():
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _timestamp,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
