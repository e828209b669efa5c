"""Every setting of the worker: command line over environment over file over default.

`fields` declares the settings, `reading` reads them from the three places that may set them, and
`words` describes them to a person.
"""

from worker.settings.fields import DEFAULT, ENV_PREFIX, FILE_GROUPS, Settings
from worker.settings.reading import load, load_log_settings, unknown_variables
from worker.settings.words import (
    Described,
    allowed,
    changed,
    default_text,
    describe,
    flag,
    group_of,
    table,
)

__all__ = [
    "DEFAULT",
    "ENV_PREFIX",
    "FILE_GROUPS",
    "Described",
    "Settings",
    "allowed",
    "changed",
    "default_text",
    "describe",
    "flag",
    "group_of",
    "load",
    "load_log_settings",
    "table",
    "unknown_variables",
]
