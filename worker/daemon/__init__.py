"""The running service.

- `compose` builds it from the settings.
- `daemon`, `stops` and `preflight` are its life: start, watch, drain, close, reasons to stop.
- `intake`, `dispatch` and `policy` take messages and hand each job to the next thread; `deletions`
  deletes those that are answered.
- `metrics`, `emf`, `server`, `status` and `systemd` count, and report to operators.
"""
