"""The command's exit statuses: 2 for every fault, since 1 is what `land` and `replay` answer of rejected lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import typer

import wayfare
from landing.sample_events import event, write
from wayfare.cli import main

if TYPE_CHECKING:
    from wayfare.settings import Settings


def _run(*arguments: str, redirected: str = "", **environment: str) -> tuple[int, str]:
    """Exit status and standard error of `wayfare`, its streams redirected as a shell has it (`>&-`)."""
    called = [sys.executable, "-c", "from wayfare.cli import main; main()", *arguments]
    command = ["sh", "-c", f'"$@" {redirected}', "sh", *called]
    path = {"PYTHONPATH": str(Path(wayfare.__file__).parents[1])}
    done = subprocess.run(command, env=os.environ | path | environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["rejections", "replay", "producer list", "status", "land"])
def test_a_database_that_is_not_migrated_is_told_in_a_sentence(
    command: str, settings: Settings, tmp_path: Path
) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("DROP SCHEMA staging, control CASCADE")
    files = [write(tmp_path / "a.jsonl", [event()])] if command == "land" else []
    code, told = _run(*command.split(), *files)
    assert (code, "run `wayfare migrate`" in told, "Traceback" in told) == (2, True, False), told


@pytest.mark.usefixtures("settings")
def test_what_nobody_expected_keeps_its_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event("search", n) for n in range(20_000)])
    code, told = _run("land", path, WAYFARE_DUCKDB_MEMORY_LIMIT="1MB")
    assert (code, "Traceback" in told, "Out of Memory Error" in told) == (2, True, True), told


def test_code_that_gives_up_with_a_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[int] = []
    monkeypatch.setattr(typer.Typer, "__call__", lambda _: sys.exit("no key\x1b[2K\nof yours"))
    monkeypatch.setattr(os, "_exit", ended.append)
    main()
    assert (ended, capsys.readouterr().err) == ([2], "wayfare: no key\\u001b[2K\nof yours\n")


@pytest.mark.usefixtures("settings")
def test_a_fault_says_what_was_done_before_it(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"damaged")
    code, told = _run("land", write(tmp_path / "a.jsonl", [event()]), str(tmp_path / "b.parquet"))
    assert (code, told.splitlines()[1:]) == (
        2,
        ["1 events before that are staged; landing the same input again continues there"],
    )


def test_a_home_in_which_nobody_may_write_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event()])
    code, told = _run("land", path, WAYFARE_HOME="/sys/wayfare")
    assert (code, told.startswith("wayfare: /sys/wayfare"), "Traceback" in told) == (2, True, False), told


@pytest.mark.parametrize(
    ("redirected", "answer"),
    [
        (">&-", (0, "")),
        (">/dev/full", (2, "wayfare: a disk is full, the output's or another: [Errno 28] No space left on device\n")),
        (">/dev/full 2>&1", (2, "")),
    ],
)
def test_an_output_that_takes_nothing(redirected: str, answer: tuple[int, str]) -> None:
    assert _run("schema", "search", redirected=redirected) == answer
