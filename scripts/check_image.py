"""Build the image of Dockerfile, look into it and run docker-compose.yaml's services in containers of it.

Needs root, podman, runc, mmdebstrap, iproute2 and redis-server, and no container registry: in the place of the base
image stands the same Debian release with Debian's Python of the same minor version. Everything is in a folder that is
gone at the end.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import compose_in_containers

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[1]
IMAGE = "wayfare:local"
USER = 10001
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CODE = ("dags", "include", "plugins")
LEFTOVER_NAMES = {".env", ".git", ".netrc", ".npmrc", ".pypirc", "id_rsa", "secrets.env"}
COMPILER = re.compile(r"^(.*-)?(gcc|g\+\+|cc|c\+\+|clang|ld|make|rustc|cargo|go)(-[\d.]+)?$")
EMPTY_FOLDERS = ("home/wayfare/.cache", "root/.cache", "tmp", "var/lib/wayfare", "var/tmp")


@dataclass(frozen=True)
class Podman:
    """Podman with images and containers in a folder of their own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of one call."""
        places = [f"--{option}={self.folder / option}" for option in ("root", "runroot", "tmpdir")]
        return ["podman", *places, "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none", *arguments]

    def __call__(self, *arguments: str) -> str:
        """What a call printed; SystemExit with the end of its output if it fails."""
        return ran(self.command(*arguments))

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The files of an image."""
        yield Path(self("image", "mount", image).strip())
        self("image", "unmount", image)

    def close(self) -> None:
        """Leave nothing mounted, even after a fault."""
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in reversed([mount for mount in mounts if Path(mount).is_relative_to(self.folder)]):
            subprocess.run(["umount", "--lazy", place], check=True)


def ran(command: list[str]) -> str:
    """What a command printed; SystemExit with the end of its output if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {shlex.join(command)}\n{(done.stdout + done.stderr)[-6000:]}")
    return done.stdout


def make_base(podman: Podman) -> None:
    """Import the stand-in of the base image as `base`."""
    recipe = (PROJECT / "Dockerfile").read_text()
    found = re.search(r"^FROM python:3\.(\d+)\S*-slim-(\w+)@sha256:[0-9a-f]{64}$", recipe, re.MULTILINE)
    if found is None:
        sys.exit("Dockerfile: FROM python:3.X.Y-slim-RELEASE@sha256:DIGEST is expected")
    minor, release = found.groups()
    archive = podman.folder / "base.tar"
    ran(
        [
            "mmdebstrap", "--variant=minbase", "--include=ca-certificates,netbase,python3,tzdata",
            f"--customize-hook=copy-in {CERTIFICATES} {Path(CERTIFICATES).parent}",
            '--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
            f'--customize-hook=chroot "$1" python -c "import sys; assert sys.version_info[:2] == (3, {minor})"',
            release, str(archive), "http://deb.debian.org/debian",
        ]
    )  # fmt: skip
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    changes = [f"--change=ENV={variable}" for variable in (path, f"SSL_CERT_FILE={CERTIFICATES}")]
    podman("import", *changes, str(archive), "base")
    archive.unlink()


def build(podman: Podman, tag: str, *arguments: str) -> None:
    """Build an image of this project; its steps run in a chroot, as root without other privileges."""
    podman("build", "--isolation=chroot", "--layers=false", "--pull=never", "--tag", tag, *arguments, str(PROJECT))


def check_context(podman: Podman) -> None:
    """What .dockerignore lets through is what git has there: no leftover, no secret."""
    recipe = podman.folder / "Context"
    recipe.write_text("FROM scratch\nCOPY . /\n")
    build(podman, "context", "--file", str(recipe), "--ignorefile", str(PROJECT / ".dockerignore"))
    wanted = [*CODE, "pyproject.toml", "requirements-production.txt", "scripts/bootstrap.py"]
    listed = ["git", "-C", str(PROJECT), "ls-files", "--cached", "--others", "--exclude-standard", "--", *wanted]
    tracked = {name for name in ran(listed).splitlines() if (PROJECT / name).exists()}
    with podman.mounted("context") as root:
        there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    if there != tracked:
        sys.exit(f".dockerignore: too much {sorted(there - tracked)}, too little {sorted(tracked - there)}")


def check_files(podman: Podman) -> str:
    """What must not be in the image is not; its size."""
    with podman.mounted(IMAGE) as root:
        paths = [path for path in root.rglob("*") if not path.is_symlink()]
        faults = [f"left over: {path}" for path in paths if path.name in LEFTOVER_NAMES]
        faults += [f"a compiler: {path}" for path in paths if path.is_file() and COMPILER.match(path.name)]
        faults += [f"not empty: {path}" for name in EMPTY_FOLDERS for path in (root / name).glob("*")]
        code = root / "opt" / "wayfare"
        for path in (p for p in paths if code in p.parents):
            status = path.stat()
            if status.st_uid or status.st_mode & 0o6002:
                faults.append(f"not root's alone: {path}")
        for source in (p for part in CODE for p in (code / part).rglob("*.py")):
            if not list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")):
                faults.append(f"not compiled: {source}")
        size = sum(path.stat().st_size for path in paths if path.is_file())
        packages = len(list(code.glob(".venv/lib/*/site-packages/*.dist-info")))
    if faults:
        sys.exit("the image: " + "\n".join(faults[:20]).replace(f"{root}/", "/"))
    return f"{size / 1e6:,.0f} MB in {len(paths):,} files, {packages} packages"


def can_contain(podman: Podman) -> bool:
    """Whether containers start on this machine; where not, say why."""
    done = subprocess.run(
        podman.command("run", "--rm", *compose_in_containers.HERE, "base", "true"), capture_output=True, text=True
    )
    if done.returncode:
        print(f"CONTAINERS DO NOT START HERE, services were not run: {done.stderr.strip()}", flush=True)
    return done.returncode == 0


def main() -> None:
    """Build, look, run; print what each took."""
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="wayfare-image-") as folder:
        podman = Podman(Path(folder))
        os.environ["TMPDIR"] = folder
        try:
            check_context(podman)
            tell("the build's context is what git has")
            make_base(podman)
            tell("base image")
            build(podman, IMAGE, "--from=base")
            tell("image built")
            tell(f"image: {check_files(podman)}")
            smoke = podman.folder / "Smoke"
            smoke.write_text(f"FROM {IMAGE}\nRUN test $(id -u) = {USER} && wayfare check && airflow version\n")
            build(podman, "smoke", "--file", str(smoke))
            tell(f"commands run as user {USER}")
            if can_contain(podman):
                compose_in_containers.run(podman, tell)
        finally:
            podman.close()


if __name__ == "__main__":
    main()
