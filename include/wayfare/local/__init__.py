"""Wayfare on one machine: the embedded PostgreSQL, secrets and the supervisor behind `make run`.

Belongs here: starting, watching and stopping processes, and the databases and accounts of a server, which `wayfare
migrate` makes in production too. Does not: anything else a production installation needs.
"""
