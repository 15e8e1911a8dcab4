"""Wayfare on one machine: the embedded PostgreSQL, secrets and the supervisor behind `make run`.

Belongs here: starting, watching and stopping processes. Does not: anything a production installation needs.
"""
