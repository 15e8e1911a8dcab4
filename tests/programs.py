"""Programs of Debian's packages that tests run."""

from __future__ import annotations

import os
import shutil

import pytest


def required(program: str, package: str) -> str:
    """The program's path; a test that needs it is skipped by name where it is missing, and fails in CI."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is missing: .ci/run must install {package}")
        pytest.skip(f"needs {program}: apt-get install {package}")
    return found
