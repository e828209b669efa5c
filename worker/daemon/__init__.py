"""The running service.

    compose                      builds it from the settings
    daemon, stops, preflight     its life: start, watch, drain, close, and the reasons to stop
    intake, dispatch, policy     messages in, and each job to the thread that has the next step
    metrics, emf, server,
    status, systemd              what it counts and reports, and to whom
"""
