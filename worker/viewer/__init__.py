"""A transcript looked at beside its recording: found, served on loopback, corrected, saved."""
