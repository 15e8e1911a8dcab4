"""Foreign rows to events, as a TOML file declares it; see `declaration` for the file, `expressions` for its values.

Belongs here: reading rows, the language of mappings and its translation to SQL. Does not: what becomes of the events
once they are JSON text (see `wayfare.landing`), and the mappings that ship (`wayfare.mappings`).
"""
