"""The behavior analyses, one per file, and the small API they are written against.

Belongs here: what an analysis declares and computes, and the named expressions that several share. Does not: where
its inputs come from or its result goes; an analysis knows contracts and this API only.
"""
