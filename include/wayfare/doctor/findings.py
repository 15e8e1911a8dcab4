"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LOW_DISK = 2_000_000_000
"""Bytes; with less, a disk is about to be full."""

Status = Literal["ok", "info", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check: `check` is its name (`database.version`), `fix` a sentence where it failed."""

    check: str
    status: Status
    found: str
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", found)


def info(check: str, found: str) -> Finding:
    """Worth knowing, and no fault of the installation."""
    return Finding(check, "info", found)


def failed(check: str, found: str, fix: str) -> Finding:
    """It is at fault; `fix` says what to do."""
    return Finding(check, "failed", found, fix)


def gigabytes(size: float) -> str:
    """Bytes for people.

    >>> gigabytes(1_500_000_000)
    '1.5 GB'
    """
    return f"{size / 1e9:,.1f} GB"
