"""The whole suite, in two processes side by side: what starts servers or a whole installation, and the rest.

With arguments: one pytest with these arguments.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

APART = ("tests/collector", "tests/local", "tests/dags", "tests/plugins", "tests/doctor", "tests/e2e", "tests/browser")
"""In this order: the browser looks at the installation that the last of `tests/e2e` started, and killed parts of."""


def main(arguments: list[str]) -> int:
    """Exit status of the run, or of the first half that failed."""
    pytest = [sys.executable, "-m", "pytest"]
    if arguments:
        return subprocess.run([*pytest, *arguments], check=False).returncode
    # Folders of their own: a pytest that starts in the shared one closes it to the servers of one that runs.
    with tempfile.TemporaryFile() as told, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        apart = [*pytest, f"--basetemp={folder}/apart", *APART]
        others = [*pytest, f"--basetemp={folder}/rest", *(f"--ignore={path}" for path in APART)]
        beside = subprocess.Popen(apart, stdout=told, stderr=subprocess.STDOUT)
        rest = subprocess.run(others, check=False).returncode
        status = beside.wait()
        told.seek(0)
        sys.stdout.buffer.write(told.read())
        sys.stdout.flush()
    return rest or status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
