"""This machine: where files go, the memory DuckDB may take, versions of Python and packages, the analyses found."""

from __future__ import annotations

import platform
import re
import secrets
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from wayfare import duck
from wayfare import settings as configuration
from wayfare.analyses import registry
from wayfare.doctor.findings import LOW_DISK, Finding, failed, gigabytes, info, ok
from wayfare.engines.rates import has_rates
from wayfare.errors import ConfigurationError
from wayfare.local.secrets import load
from wayfare.storage import filesystem, is_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings

MEMORY_SHARE = 0.5
"""Share of the machine's memory that DuckDB may take; PostgreSQL and the other tasks want the rest."""

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def examine(settings: Settings) -> Iterator[Finding]:
    """Findings about secrets, storage, the spill folder, the engine, the currency, the versions and the analyses."""
    yield from _secrets(settings.home)
    yield _storage(settings)
    yield _spill(settings.spill_dir)
    yield _engine(settings)
    yield _currency(settings.currency)
    yield _python()
    yield _packages()
    yield _analyses()


def _secrets(home: Path) -> Iterator[Finding]:
    """Those that `wayfare up` made with its server, where it did."""
    file = configuration.secrets_file(home)
    if not ((home / "postgres").exists() and file.exists()):
        return
    try:
        load(home)
    except ConfigurationError as error:
        yield failed("secrets", str(error), "restore that file")
    else:
        yield ok("secrets", f"{file} holds all of them")


def _storage(settings: Settings) -> Finding:
    """Write, read and delete a file; a probe that a kill leaves behind is swept up as any temporary file is."""
    content = secrets.token_bytes(64)
    try:
        fs, path = filesystem(settings.storage)
        folder = _nearest(Path(path)) if is_local(settings.storage) else None
        if folder is None:  # a bucket, which the first file written makes
            fs.makedirs(path, exist_ok=True)
        probe = f"{folder or path}/doctor-{secrets.token_hex(6)}.tmp"
        fs.pipe_file(probe, content)
        is_kept = fs.cat_file(probe) == content
        fs.rm_file(probe)
        free = shutil.disk_usage(folder).free if folder else None
    except Exception as error:  # noqa: BLE001  # every kind of storage has errors of its own
        fix = "give this account the right to write there, or correct WAYFARE_STORAGE_URL"
        return failed("storage", f"{settings.storage}: {_first_line(error)}", fix)
    if not is_kept:
        return failed("storage", f"{settings.storage} gives back other bytes than were written", "use another storage")
    if free is not None and free < LOW_DISK:
        return failed("storage", f"{settings.storage}: {gigabytes(free)} are free", _room(settings.storage))
    room = "" if free is None else f", {gigabytes(free)} are free"
    return ok("storage", f"{settings.storage} can be written, read and deleted{room}")


def _nearest(folder: Path) -> Path:
    """The folder, or the one in which the first of its missing parents would be made: nothing is made here."""
    return next(f for f in (folder, *folder.parents) if f.exists())


def _spill(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)) as probe:
            probe.write(b"probe")
        free = shutil.disk_usage(_nearest(folder)).free
    except OSError as error:
        fix = "give this account the right to write there, or set WAYFARE_DUCKDB_SPILL to another folder"
        return failed("folder.spill", f"{folder}: {_first_line(error)}", fix)
    if free < LOW_DISK:
        return failed("folder.spill", f"{folder}: {gigabytes(free)} are free", _room(folder))
    return ok("folder.spill", f"{folder} can be written, {gigabytes(free)} are free")


def _room(place: object) -> str:
    return f"free {gigabytes(LOW_DISK)} on the disk of {place}"


def _engine(settings: Settings) -> Finding:
    try:
        with duck.connect(memory_limit=settings.duckdb_memory_limit, threads=settings.duckdb_threads) as connection:
            connection.execute("SELECT now() AT TIME ZONE $zone", {"zone": settings.timezone})
            ((limit,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    except Exception as error:  # noqa: BLE001  # DuckDB's errors have no common base but this
        return failed("engine", f"DuckDB: {_first_line(error)}", "write WAYFARE_DUCKDB_MEMORY_LIMIT like 2GB")
    number, unit = str(limit).split()
    size, memory = float(number) * _UNITS[unit], _memory()
    found = f"DuckDB may take {gigabytes(size)} of this machine's {gigabytes(memory)}"
    if size > memory * MEMORY_SHARE:
        most = f"{int(memory * MEMORY_SHARE / 1e6)}MB"
        return failed("engine", found, f"set WAYFARE_DUCKDB_MEMORY_LIMIT to {most} or less: past it DuckDB spills")
    return ok("engine", found)


def _currency(reporting: str) -> Finding:
    if has_rates(reporting):
        return ok("currency", f"amounts are converted to {reporting} by the European Central Bank's rates")
    return info(
        "currency", f"the European Central Bank has no rates of {reporting}: no other amount is converted to it"
    )


def _memory() -> int:
    """Bytes of memory, by the container's limit where there is one."""
    limit = _CONTAINER_LIMIT.read_text().strip() if _CONTAINER_LIMIT.exists() else "max"
    total = int(psutil.virtual_memory().total)
    return total if limit == "max" else min(total, int(limit))


def _python() -> Finding:
    wanted, version = metadata.metadata("wayfare")["Requires-Python"], platform.python_version()
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return ok("versions.python", f"Python {version}")
    return failed("versions.python", f"Python {version}", f"install Wayfare with Python {wanted}")


def _packages() -> Finding:
    """Compare what is installed with the lock the project comes with."""
    lock = configuration.PROJECT / "requirements.txt"
    if not lock.exists():
        return failed("versions.packages", f"{lock} is missing", "install Wayfare from its repository, lock included")
    locked = [Requirement(found) for found in re.findall(r"^(\w[^\\\n]*==[^\\\n]*)", lock.read_text(), re.MULTILINE)]
    wanted = {r.name: str(r.specifier)[2:] for r in locked if r.marker is None or r.marker.evaluate()}
    other = [
        f"{name} {there or 'missing'} (locked: {v})" for name, v in wanted.items() if (there := _installed(name)) != v
    ]
    if other:
        found = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        return failed("versions.packages", found, "install what is locked: `make setup`, or rebuild the image")
    return ok("versions.packages", f"{len(wanted)} packages are as locked")


def _analyses() -> Finding:
    if left_out := registry.broken():
        fix = "fix what `wayfare check` reports; until then their marts are not updated"
        return failed("analyses", f"left out: {', '.join(left_out)}", fix)
    return ok("analyses", f"{len(registry.analyses())} are found, none is left out")


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
