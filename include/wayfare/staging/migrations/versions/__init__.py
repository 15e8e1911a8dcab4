"""The revisions, oldest first by their numbers: each has `revision`, `down_revision` and `upgrade`.

Belongs here: SQL as it was when it was released. Does not: imports from Wayfare, or a way down; a backup is.
"""
