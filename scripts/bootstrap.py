"""Make .venv with this Python and put the locked uv into it; standard library only.

Debian's Python without python3-venv cannot put pip into an environment, so uv's wheel is fetched here, checked
against the hashes of requirements.txt and unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
WHEEL_TAGS = {
    ("Linux", "x86_64"): "manylinux_2_17_x86_64",
    ("Linux", "aarch64"): "manylinux_2_17_aarch64",
    ("Darwin", "arm64"): "macosx_11_0_arm64",
    ("Darwin", "x86_64"): "macosx_10_12_x86_64",
}


def locked(requirements: str) -> tuple[str, set[str]]:
    """Version and SHA-256 hashes of uv in the lock."""
    entry = re.search(r"^uv==(\S+) (?:.*\\\n)((?:\s+--hash=\S+(?: \\)?\n)+)", requirements, re.MULTILINE)
    if entry is None:
        sys.exit("requirements.txt does not pin uv: run `make lock`")
    return entry[1], set(re.findall(r"sha256:([0-9a-f]{64})", entry[2]))


def wheel_url(version: str) -> str:
    """Address of uv's wheel for this machine on the package index."""
    tag = WHEEL_TAGS.get((platform.system(), platform.machine()))
    if tag is None:
        sys.exit(f"no uv wheel is known for {platform.system()} {platform.machine()}")
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    request = urllib.request.Request(f"{index}/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    for file in files:
        if file["filename"].startswith(f"uv-{version}-") and tag in file["filename"]:
            return str(file["url"])
    sys.exit(f"the package index has no uv {version} for {tag}")


def main() -> None:
    """Create the environment."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(f"Wayfare runs on Python 3.11 to 3.13; this is {platform.python_version()}. Set PYTHON=python3.12")
    version, hashes = locked((PROJECT / "requirements.txt").read_text())
    venv.create(PROJECT / ".venv", symlinks=True, clear=True)
    with urllib.request.urlopen(wheel_url(version), timeout=300) as answer:
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() not in hashes:
        sys.exit("uv's wheel does not match the hashes of requirements.txt")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(n for n in archive.namelist() if n.endswith("/scripts/uv"))
        binary = PROJECT / ".venv" / "bin" / "uv"
        binary.write_bytes(archive.read(member))
        binary.chmod(0o755)


if __name__ == "__main__":
    main()
