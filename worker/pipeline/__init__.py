"""One job's way through the worker: fetch, submit to the engine, commit; and every other end."""
