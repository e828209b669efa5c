"""Everything outside: the queue, S3 and the instance that the worker runs on.

Nothing in here knows of speech. By what they are about:

Every call
- `clients`: the boto3 clients, made once, with bounded time-outs
- `faults`: what a failed call means, and retries of those that may succeed later

The queue
- `sqs`: SQS's limits, and what a queue's name says
- `queue`: receive, delete, release and extend messages
- `lease`: the table of held messages, and the heartbeat that keeps them
- `dead_letter`: copies of messages that failed for good
- `source`: a queue with its leases and dead letters; every held message carries one
- `notices`: a message to a topic or another queue when a job has its answer

S3
- `objects`: what S3 says of an object
- `inputs`: download a job's input
- `results`: commit a result once; write errors and checkpoints

The instance
- `imds`: the metadata service, and how to read a spot notice
- `instance`: watch for the instance's end, protect it from scale-in, end it
"""
