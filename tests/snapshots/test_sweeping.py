"""Temporary files that a killed writer left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from wayfare import storage


def test_only_temporary_files_of_more_than_a_day_are_swept(tmp_path: Path) -> None:
    old, young, kept = (tmp_path / "a" / n for n in ("1.parquet.aa.tmp", "1.parquet.bb.tmp", "1.parquet"))
    old.parent.mkdir()
    for file in (old, young, kept):
        file.write_bytes(b"x")
    two_days_ago = time.time() - 2 * 86_400
    for file in (old, kept):
        os.utime(file, (two_days_ago, two_days_ago))
    assert storage.sweep(str(tmp_path)) == 1
    assert {p.name for p in old.parent.iterdir()} == {young.name, kept.name}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    url = str(tmp_path / "deep" / "file.txt")
    storage.write_atomic(url, lambda t: _fill(t, "one"))

    def fail(temporary: str) -> None:
        _fill(temporary, "two")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        storage.write_atomic(url, fail)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file.txt"]
    assert (tmp_path / "deep" / "file.txt").read_text() == "one"


def _fill(path: str, text: str) -> None:
    Path(path).write_text(text)
