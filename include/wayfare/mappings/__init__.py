"""Mappings that ship with Wayfare, one TOML file per foreign data set; `wayfare import --mapping NAME` finds them.

Belongs here: declarations only (`wayfare.landing.mapping.declaration` says what one may hold). Does not: code or data.
"""
