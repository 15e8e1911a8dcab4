"""The whole suite, in three processes side by side: what runs on Airflow and other servers, the answers, and the rest.

Many tests wait for a server, so that two would not keep two cores busy. With arguments: one pytest with these.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack

SERVERS = (
    "tests/landing/test_queue.py", "tests/collector", "tests/local", "tests/doctor", "tests/dags", "tests/plugins",
    "tests/e2e/test_compose_stack.py", "tests/e2e/test_stack.py", "tests/browser",
)  # fmt: skip
"""In this order: the browser looks at the installation that `test_stack` started, and killed parts of."""

ANSWERS = ("tests/analyses", "tests/e2e/test_hotel.py", "tests/e2e/test_replay.py", "tests/e2e/test_findings.py")


def main(arguments: list[str]) -> int:
    """Exit status of the run, or of the first part that failed."""
    pytest = [sys.executable, "-m", "pytest"]
    if arguments:
        return subprocess.run([*pytest, *arguments], check=False).returncode
    rest = [f"--ignore={path}" for path in (*SERVERS, *ANSWERS)]
    with ExitStack() as stack:
        # Folders of their own: a pytest that starts in the shared one closes it to the servers of one that runs.
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        beside = []
        for number, part in enumerate((SERVERS, ANSWERS)):
            output = stack.enter_context(tempfile.TemporaryFile())
            command = [*pytest, f"--basetemp={folder}/{number}", *part]
            beside.append((subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output))
        statuses = [subprocess.run([*pytest, f"--basetemp={folder}/rest", *rest], check=False).returncode]
        for process, output in beside:
            statuses.append(process.wait())
            output.seek(0)
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
