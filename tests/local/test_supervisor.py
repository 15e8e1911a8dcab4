"""The supervisor on real processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil

from waiting import until
from wayfare.local.supervisor import Supervisor, remember, remembered, stop_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

SLEEPER = [sys.executable, "-c", "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"]


def pid_of(logs: Path, name: str) -> int:
    return int((logs / f"{name}.pid").read_text().split()[0])


def supervise(logs: Path, restarts: list[tuple[str, int]], keep_alive: Callable[[], None] = lambda: None) -> Supervisor:
    return Supervisor(
        {"one": SLEEPER, "two": SLEEPER},
        dict(os.environ),
        logs,
        on_restart=lambda name, code: restarts.append((name, code)),
        keep_alive=keep_alive,
    )


def test_what_dies_is_started_again_and_all_stop_together(tmp_path: Path) -> None:
    restarts: list[tuple[str, int]] = []
    supervisor = supervise(tmp_path, restarts)
    supervisor.start()
    try:
        first, other = pid_of(tmp_path, "one"), pid_of(tmp_path, "two")
        until(lambda: psutil.Process(first).children(), 15)
        (grandchild,) = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        until(lambda: restarts == [("one", -signal.SIGKILL)], 15)
        second = pid_of(tmp_path, "one")
        assert second != first
        assert pid_of(tmp_path, "two") == other
        until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, 15)
    finally:
        supervisor.stop()
    assert not psutil.pid_exists(second)
    assert not psutil.pid_exists(other)
    assert list(tmp_path.glob("*.pid")) == []


def test_what_does_not_end_when_asked_is_killed_with_its_children_after_one_grace_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wayfare.local.supervisor._GRACE_SECONDS", 0.3)
    stubborn, names = ["sh", "-c", "trap '' TERM; sleep 600 & echo started; wait"], "abcdef"
    supervisor = Supervisor(
        dict.fromkeys(names, stubborn), os.environ, tmp_path, on_restart=lambda *_: None, keep_alive=int
    )
    supervisor.start()
    until(lambda: all((tmp_path / f"{name}.log").read_text() for name in names), 15)
    children = [child for name in names for child in psutil.Process(pid_of(tmp_path, name)).children()]
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 0.3 * len(names)
    assert len(children) == len(names)
    until(lambda: all(not c.is_running() or c.status() == psutil.STATUS_ZOMBIE for c in children), 15)


def test_what_a_killed_supervisor_left_is_stopped_by_the_next(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    orphaning = f"""
import os, signal, sys
from pathlib import Path
sys.path[:0] = {[here, *sys.path]!r}
from test_supervisor import supervise
supervise(Path({str(tmp_path)!r}), []).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", orphaning]) == -signal.SIGKILL
    orphan = psutil.Process(pid_of(tmp_path, "one"))
    supervisor = supervise(tmp_path, [])
    supervisor.start()
    try:
        until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 15)
        assert pid_of(tmp_path, "one") != orphan.pid
    finally:
        supervisor.stop()


def test_neither_a_fault_of_its_own_nor_what_dies_again_and_again_ends_its_watch(tmp_path: Path) -> None:
    faults = iter([OSError("no space left on device")])

    def keep_alive() -> None:
        for fault in faults:
            raise fault

    restarts: list[tuple[str, int]] = []
    supervisor = supervise(tmp_path, restarts, keep_alive)
    supervisor._pause["one"] = 30.0
    supervisor.start()
    try:
        for name in ("one", "two"):
            os.kill(pid_of(tmp_path, name), signal.SIGKILL)
        until(lambda: restarts == [("two", -signal.SIGKILL)], 15)
    finally:
        supervisor.stop()
    assert list(faults) == []


def test_what_dies_again_and_again_is_started_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasty(threading.Event):
        now = 0.0

        def wait(self, timeout: float | None = None) -> bool:
            self.now += timeout or 0
            return super().wait(0.02)

    hasty, starts = Hasty(), list[float]()
    monkeypatch.setattr("wayfare.local.supervisor.time", SimpleNamespace(monotonic=lambda: hasty.now))
    supervisor = Supervisor(
        {"broken": ["false"]}, os.environ, tmp_path, on_restart=lambda *_: starts.append(hasty.now), keep_alive=int
    )
    supervisor._stopping = hasty
    supervisor.start()
    try:
        until(lambda: len(starts) > 6, 30)
    finally:
        supervisor.stop()
    pauses = [after - before for before, after in pairwise(starts)]
    assert all(pause > least for pause, least in zip(pauses, (2, 4, 8, 16, 30, 30), strict=False))


def test_a_pid_file_cut_short_by_a_power_failure_names_no_process(tmp_path: Path) -> None:
    (tmp_path / "one.pid").write_text("")
    assert stop_leftovers(tmp_path) == 0
    assert list(tmp_path.glob("*.pid")) == []


def test_a_clock_that_is_set_makes_no_other_process_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, booted_at = psutil.Process().create_time(), psutil.boot_time()
    remember(tmp_path / "one.pid", psutil.Process())
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted_at + 5)
    assert psutil.Process().create_time() == before + 5
    assert remembered(tmp_path / "one.pid") is not None


def test_a_pid_that_now_is_another_process_is_left_alone(tmp_path: Path) -> None:
    remember(tmp_path / "one.pid", psutil.Process())
    pid, began, boot = (tmp_path / "one.pid").read_text().split()
    (tmp_path / "one.pid").write_text(f"{pid} {began} another-{boot}")  # each boot counts its ticks from 0
    assert remembered(tmp_path / "one.pid") is None
    (tmp_path / "one.pid").write_text(f"{pid} 1.0 {boot}")
    supervisor = supervise(tmp_path, [])
    supervisor.start()
    supervisor.stop()
    assert psutil.pid_exists(os.getpid())
