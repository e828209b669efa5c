"""What a command writes to its log whatever it does: misspelled variables, and its failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from worker.errors import SettingsError, WorkerError
from worker.logs import Logger, configure, get_logger
from worker.settings import Settings, load_log_settings

__all__ = ["failure_logged", "warn_of_unknown"]


def warn_of_unknown(settings: Settings, log: Logger) -> None:
    """Name each `WORKER_...` variable that is no setting."""
    for variable in settings.unknown_variables:
        log.warning("settings.unknown", message=variable)


@contextmanager
def failure_logged(flags: Mapping[str, Any], config: Path | None) -> Iterator[None]:
    """Have the log file, if there is one, say why the block failed; `main` says it on stderr.

    The file is opened anew: where the settings are refused, it never was.

    Args:
        flags: settings from the command line.
        config: the file of settings.
    """
    try:
        yield
    except WorkerError as error:
        found = load_log_settings(flags, config)
        if found.log_file is not None:
            with suppress(SettingsError):  # it can't be written either
                configure(found.log_level, found.log_format, found.log_file)
                get_logger("worker.run").error("worker.failed", message=str(error))
        raise
