"""A queue-driven transcription worker: SQS in, S3 out, WhisperX on a full GPU between."""

import os

__version__ = "0.1.0"

# Libraries that report their use to their makers are told not to, before any of them is imported:
# this module comes first in every process of ours, however it was started.
os.environ |= {
    # From 1.32 on; read once, when it loads: its own call comes too late to prevent the identifier
    # of the machine and the database below the cache, and `.ses` in the folder of temporary files.
    "ORT_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
