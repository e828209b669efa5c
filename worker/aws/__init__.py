"""The outside world: queue, leases, objects, the instance. Knows nothing of speech.

- `clients`: the boto3 clients, made once, with bounded time-outs
- `faults`: what an AWS failure means, and riding out those that pass
- `queue`: receive, delete, release, extend, dead-letter
- `lease`: the table of held messages and its heartbeat
- `store`: fetch an object; commit a result once
- `instance`: spot notices, scale-in protection, ending the instance
"""
