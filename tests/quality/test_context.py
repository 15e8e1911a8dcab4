"""Great Expectations stays out of the way until a gate runs, and is quiet then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INCLUDE = Path(__file__).resolve().parents[2] / "include"


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter's run of `code`."""
    folders = os.pathsep.join(map(str, (*path, INCLUDE)))
    environment = {**os.environ, "PYTHONPATH": folders}
    if path:
        environment["TMPDIR"] = str(path[0] / "tmp")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


def test_importing_the_gates_imports_no_great_expectations() -> None:
    heavy = "[m for m in ('great_expectations', 'pandas', 'duckdb_sqlalchemy') if m in sys.modules]"
    assert run(f"import sys, wayfare.quality; print({heavy})").stdout == "[]\n"


def test_a_gate_loads_no_spark_sends_nothing_and_shows_no_progress(tmp_path: Path) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("raise SystemExit('pyspark was imported')")
    (tmp_path / "tmp").mkdir()
    code = """
import importlib.util, os, sys, tempfile, duckdb
from wayfare.analyses.api import Expect
from wayfare.quality.context import datasource, great_expectations
from wayfare.quality.judge import judge
from wayfare.quality.suites import Suite
connection = duckdb.connect()
connection.execute("CREATE TABLE t AS SELECT i FROM range(1000) AS r (i)")
with datasource(connection) as source:
    judge(source, Suite("t", (Expect("ExpectColumnMeanToBeBetween", {"column": "i"}),), "x"), ["i"])
    assert source.data_context.config.analytics_enabled is False and os.environ["GX_ANALYTICS_ENABLED"] == "false"
assert "pyspark" not in sys.modules and importlib.util.find_spec("pyspark")
assert os.listdir(tempfile.gettempdir()) == [], "left files behind"
print("judged")
"""
    done = run(code, tmp_path)
    assert done.stdout == "judged\n"
    assert "Calculating Metrics" not in done.stderr
