"""Fail if requirements.txt is not what requirements.in compiles to, given the versions already locked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Compile beside the lock, starting from it, and compare."""
    lock = PROJECT / "requirements.txt"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "requirements.txt"
        shutil.copy(lock, fresh)
        subprocess.run(
            [
                Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes",
                "--python-version", "3.11", "--no-header", "requirements.in", "-o", fresh,
            ],
            cwd=PROJECT,
            check=True,
        )  # fmt: skip
        if fresh.read_text() == lock.read_text():
            return 0
    print("requirements.txt does not follow from requirements.in: run `make lock` and commit it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
