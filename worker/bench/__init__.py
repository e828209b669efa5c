"""Measuring the engine beside its peers; used by the scripts, never by the worker itself."""
