"""Takes secrets out of text before a person or a log sees it (pure).

Two things carry secrets where nobody looks for them: the user part of a URL
(`http://key:secret@host/`) and the query of a presigned one (`?X-Amz-Signature=...`).
"""

import re

__all__ = ["HIDDEN", "redact"]

HIDDEN = "***"
"""What stands in a secret's place."""

_USER_PART = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/?#@]+@", re.IGNORECASE)
_QUERY_VALUE = re.compile(
    r"(?P<name>[?&;](?:X-Amz-[A-Za-z-]+|AWSAccessKeyId|Signature|[A-Za-z_-]*(?:token|secret|password"
    r"|key))=)[^\s&;#\"']+",
    re.IGNORECASE,
)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_HEADER = re.compile(
    r"(?P<name>\b(?:Authorization|X-Amz-Security-Token)['\"]?\s*[:=]\s*).+", re.IGNORECASE
)


def redact(text: str) -> str:
    """`text` without credentials in URLs, presigned queries, access keys or signed headers."""
    if "://" in text:
        text = _USER_PART.sub(rf"\g<scheme>{HIDDEN}@", text)
    if "=" in text or ":" in text:
        text = _QUERY_VALUE.sub(rf"\g<name>{HIDDEN}", text)
        text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    return _ACCESS_KEY.sub(HIDDEN, text)
