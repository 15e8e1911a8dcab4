"""The staging database: tables, batches and the change log.

Belongs here: DDL, roles, connections, and the one transaction that stages a batch. Does not: reading files (landing),
day files (snapshots) or marts.
"""
