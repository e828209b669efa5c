"""The running service: composition, life cycle, intake, drain, status and metrics."""
