"""Child processes for what may crash, hang or swallow memory: held, and talked to."""
