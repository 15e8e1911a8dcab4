"""A supervisor: keeps a set of processes running, restarts what dies, stops everything together."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 20.0
_LONGEST_PAUSE = 30.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Supervisor:
    """Runs each command with its output in `logs/NAME.log`, in a session of its own.

    A process that dies is started again after a pause that doubles up to 30 seconds and returns to one second once
    the process has lived for a minute. Process ids are kept in `logs`, so that what a killed supervisor left
    behind is found and stopped by the next one.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        logs: Path,
        *,
        on_restart: Callable[[str, int], None],
        keep_alive: Callable[[], None],
    ) -> None:
        """`on_restart(name, exit code)` is called on every restart; `keep_alive` is called once a second."""
        self._commands = commands
        self._environment = environment
        self._logs = logs
        self._on_restart = on_restart
        self._keep_alive = keep_alive
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._pause: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start every process and watch over them from a thread of its own."""
        self._logs.mkdir(parents=True, exist_ok=True)
        stop_leftovers(self._logs)
        for name in self._commands:
            self._spawn(name)
        self._watcher.start()

    def stop(self) -> None:
        """Stop every process, gently at first; returns when all are gone."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for process in self._running.values():
            _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for name, process in self._running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
            self._pid_file(name).unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._stopping.wait(1.0):
            try:
                self._look_after()
            except Exception:  # noqa: BLE001 - a full disk, a closed terminal: nobody else starts what dies next
                _log.exception("the supervisor goes on")

    def _look_after(self) -> None:
        self._keep_alive()
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            if name not in self._due:
                self._note_death(name)
            elif self._due[name] <= time.monotonic():
                del self._due[name]
                self._spawn(name)
                self._on_restart(name, code)

    def _note_death(self, name: str) -> None:
        """End what a dead process left of its group, and say when it is due again."""
        lived = time.monotonic() - self._started[name]
        self._pause[name] = 1.0 if lived > 60 else min(_LONGEST_PAUSE, 2 * self._pause.get(name, 0.5))
        self._due[name] = time.monotonic() + self._pause[name]
        _signal_group(self._running[name].pid, signal.SIGKILL)

    def _spawn(self, name: str) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._commands[name],
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        self._started[name] = time.monotonic()
        remember(self._pid_file(name), psutil.Process(process.pid))

    def _pid_file(self, name: str) -> Path:
        return self._logs / f"{name}.pid"


def stop_leftovers(logs: Path) -> int:
    """Kill what a killed supervisor with these `logs` left behind, and wait until its ports are free.

    Returns how many processes there were.
    """
    dying: list[psutil.Process] = []
    for file in logs.glob("*.pid"):
        if (process := remembered(file)) is not None:
            dying += [process, *process.children(recursive=True)]
            _signal_group(process.pid, signal.SIGKILL)
        file.unlink()
    psutil.wait_procs(dying, timeout=_GRACE_SECONDS)
    return len(dying)


def remember(file: Path, process: psutil.Process) -> None:
    """Write down a process so that no other is taken for it: ids are used again. Whoever reads finds all of it."""
    whole = file.with_suffix(".new")
    whole.write_text(f"{process.pid} {_began(process)} {_boot()}")
    whole.replace(file)


def remembered(file: Path) -> psutil.Process | None:
    """The process that is written down there, if it still runs."""
    try:
        pid, began, boot = file.read_text().split()
        process = psutil.Process(int(pid))
        return process if boot == _boot() and abs(_began(process) - float(began)) < 1 else None
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess, ValueError):
        return None  # there is none, or the machine lost power over the file


def _began(process: psutil.Process) -> float:
    """When it began: in ticks since the boot on Linux, where the clock may be set, otherwise in seconds since 1970."""
    stat = Path(f"/proc/{process.pid}/stat")
    return float(stat.read_text().rpartition(")")[2].split()[19]) if stat.exists() else process.create_time()


def _boot() -> str:
    """Id of this machine's boot, on Linux."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "-"


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process and all it started; each of ours leads a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
