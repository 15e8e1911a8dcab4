"""The pictures of the analyses' pages: simulate, land and publish a demonstration, then draw what each mart answers.

Run by `make pictures`; the same code and packages draw the same bytes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import psycopg

from wayfare import landing, simulator
from wayfare.analyses import registry
from wayfare.local.postgres import temporary_server
from wayfare.pipeline import bring_up_to_date
from wayfare.settings import PROJECT, Settings
from wayfare.staging import database

if TYPE_CHECKING:
    from wayfare.analyses.api import BehaviorAnalysis

DAYS, CUSTOMERS, SEED = 100, 2_000, 7
FOLDER = PROJECT / "docs" / "analyses"

mpl.use("svg")
mpl.rcParams |= {
    "svg.hashsalt": "wayfare",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def main(names: list[str]) -> None:
    """Draw the pictures of the analyses named, or of all."""
    drawn = [registry.get(name) for name in names] or list(registry.analyses().values())
    with temporary_server() as server:
        settings = Settings(database_url=server.url("postgres"), home=server.data.parent / "home")
        _demonstrate(settings, [a.name for a in drawn])
        for analysis in drawn:
            _draw(settings, analysis)


def _demonstrate(settings: Settings, names: list[str]) -> None:
    database.migrate(settings)
    folder = settings.home / "demo"
    simulator.simulate(folder, days=DAYS, customers=CUSTOMERS, seed=SEED)
    landing.land(settings, sorted(map(str, folder.iterdir())))
    for name in names:
        for _ in bring_up_to_date(settings, name):
            print(f"{name}: published")


def _draw(settings: Settings, analysis: BehaviorAnalysis) -> None:
    from matplotlib.figure import Figure

    if analysis.picture is None:
        return
    with psycopg.connect(settings.url("owner")) as connection:
        cursor = connection.execute(analysis.picture.query.encode())
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    (_lines if analysis.picture.mark == "line" else _bars)(axes, rows)
    figure.savefig(FOLDER / f"{analysis.name}.svg", metadata={"Date": None})
    print(f"{analysis.name}: drawn from {len(rows)} rows")


def _series(rows: list[dict[str, Any]]) -> dict[str, dict[Any, float]]:
    """Values of `y` by `x` of each series, in the order of the query."""
    series: dict[str, dict[Any, float]] = {}
    for row in rows:
        if row["y"] is not None:
            series.setdefault(str(row.get("series", "")), {})[row["x"]] = float(row["y"])
    return series


def _lines(axes: Any, rows: list[dict[str, Any]]) -> None:
    found = _series(rows)
    for name, points in found.items():
        axes.plot(list(points), list(points.values()), label=name, linewidth=1.6)
    if len(found) > 1:
        axes.legend(ncols=min(len(found), 4), fontsize=8)
    if rows and hasattr(rows[0]["x"], "year"):
        axes.figure.autofmt_xdate(rotation=0, ha="center")
    axes.margins(x=0.01)


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    found = _series(rows)
    places = {x: place for place, x in enumerate(dict.fromkeys(row["x"] for row in rows))}
    width = 0.8 / max(1, len(found))
    for turn, (name, points) in enumerate(found.items()):
        left = [places[x] + (turn - (len(found) - 1) / 2) * width for x in points]
        axes.bar(left, list(points.values()), width, label=name)
    if len(found) > 1:
        axes.legend(ncols=min(len(found), 4), fontsize=8)
    axes.set_xticks(list(places.values()), [str(x) for x in places], rotation=20 if len(places) > 6 else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
