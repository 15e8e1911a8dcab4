"""The speed claims, measured one after the other: `make bench`, or `make bench ARGS="--rows 1000000"`.

Each part is a program of its own in this folder, which prints its figures and ratios; see their docstrings.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """Run the parts; the exit status is that of the last one that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="events of each part that takes a number (default: 10 million)"
    )
    rows = str(parser.parse_args().rows)
    parts = {
        "simulate": (),
        "landing": ("--events", rows),
        "collector": (),
        "extract": (rows,),
        "quality": (rows,),
        "analyses": ("--events", rows),
        "spark": ("--events", rows),
        "publish": (),
        "late_day": (),
    }
    failed = 0
    for name, arguments in parts.items():
        print(f"\n== {name}", flush=True)
        failed = subprocess.run([sys.executable, FOLDER / f"{name}.py", *arguments]).returncode or failed
    return failed


if __name__ == "__main__":
    sys.exit(main())
