"""Foreign rows to events, as a TOML file declares it: docs/mappings.md describes the language.

Belongs here: reading rows, the language of mappings and its translation to SQL. Does not: what becomes of the events
once they are JSON text (see `wayfare.landing`), and the mappings that ship (`wayfare.mappings`).
"""
