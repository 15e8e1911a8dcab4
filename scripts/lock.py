"""Compile each lock from its .in, keeping the versions already locked; with --check: fail if that would change one."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOCKS: dict[str, list[str]] = {
    "requirements": [],
    "requirements-production": ["--constraints", "requirements.txt"],
    "requirements-spark": [],
}
"""Names of the locks, and what each is compiled with: what runs in production is what was tested."""


def main() -> int:
    """Compile beside the lock, starting from it, and compare or replace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, given in LOCKS.items():
        lock = PROJECT / f"{name}.txt"
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / lock.name
            if lock.exists():
                shutil.copy(lock, fresh)
            subprocess.run(
                [
                    Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--universal",
                    "--generate-hashes", "--python-version", "3.11", "--no-header", *given, f"{name}.in", "-o", fresh,
                ],
                cwd=PROJECT,
                check=True,
            )  # fmt: skip
            if lock.exists() and fresh.read_text() == lock.read_text():
                continue
            if check:
                stale.append(f"{lock.name} does not follow from {name}.in: run `make lock` and commit it")
            else:
                shutil.copy(fresh, lock)
    for fault in stale:
        print(fault, file=sys.stderr)
    return len(stale)


if __name__ == "__main__":
    sys.exit(main())
