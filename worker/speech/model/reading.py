"""Words read from what the device found of a window; a text is never lost for them."""

from __future__ import annotations

from worker.logs import get_logger
from worker.redact import summary
from worker.speech.model.decoding import Decoded

__all__ = ["read_words"]

log = get_logger(__name__)


def read_words(decoded: Decoded) -> Decoded:
    """A text with its words (`Decoded.with_words`), or without if they make no sense."""
    try:
        return decoded.with_words()
    except Exception as error:  # noqa: BLE001  # whatever it is, the text is good
        log.error(
            "words.failed",
            message="Words could not be read from attention: the text stands without them",
            windows=1,
            error=summary(error),
        )
        return decoded.without_words()
