"""A queue-driven transcription worker: SQS in, S3 out, WhisperX on a full GPU between."""

__version__ = "0.1.0"
