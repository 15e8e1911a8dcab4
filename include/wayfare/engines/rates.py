"""Exchange rates: the European Central Bank's reference rates as factors between minor units."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import currency_converter

from wayfare import storage
from wayfare.contracts import reference

if TYPE_CHECKING:
    import datetime as dt

    import duckdb
    import pandas as pd

    from wayfare.settings import Settings


def rates(connection: duckdb.DuckDBPyConnection, settings: Settings, through: dt.date) -> duckdb.DuckDBPyRelation:
    """Factors from minor units of each currency to those of the reporting currency, one row a day up to `through`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        `currency` (ISO 4217), `rate_on` (date), `to_reporting` (double). A day without a rate has the last one before
        it, also past the last day published; a day before a currency's first rate has no row. The reporting currency
        is 1.0 on every day from the first that the European Central Bank published.
    """
    published = connection.read_parquet(_reference_file(settings))
    ((last_on,),) = published.aggregate("max(rate_on)").fetchall()
    missing = max(0, (through - last_on).days)
    later = (
        published.filter(f"rate_on = DATE '{last_on.isoformat()}'")
        .project(f"currency, unnest(range(1, {missing + 1})) AS n, to_reporting")
        .project(f"currency, CAST(DATE '{last_on.isoformat()}' + CAST(n AS INTEGER) AS DATE) AS rate_on, to_reporting")
    )
    return published.union(later)


def has_rates(currency: str) -> bool:
    """Whether the European Central Bank ever published rates of a currency (ISO 4217)."""
    import pandas as pd

    return currency in {"EUR", *pd.read_csv(currency_converter.CURRENCY_FILE, nrows=0).columns}


def _reference_file(settings: Settings) -> str:
    """The file of published rates with gaps filled, written once for each edition of the rates and the minor units."""
    units = str(reference.currencies().to_pydict()).encode()
    edition = hashlib.sha256(Path(currency_converter.CURRENCY_FILE).read_bytes() + units).hexdigest()[:12]
    url = f"{settings.home}/reference/rates_{settings.currency}_{edition}.parquet"
    if not storage.exists(url):
        table = _published(settings.currency)
        storage.write_atomic(url, lambda temporary: table.to_parquet(temporary, index=False))
    return url


def _published(reporting: str) -> pd.DataFrame:
    import pandas as pd  # imported late: the file is there but for the first time

    per_euro = pd.read_csv(
        currency_converter.CURRENCY_FILE, index_col="Date", parse_dates=True, na_values=["N/A"], keep_default_na=False
    ).sort_index()
    per_euro = per_euro.loc[:, ~per_euro.columns.str.startswith("Unnamed")].assign(EUR=1.0)
    per_euro = per_euro.reindex(pd.date_range(per_euro.index[0], per_euro.index[-1], name="rate_on")).ffill()
    exponents = reference.currencies().to_pandas().set_index("currency")["exponent"]
    known = per_euro.columns.intersection(exponents.index)
    minor = per_euro[known] * 10.0 ** exponents[known]
    factors = minor.rdiv(minor[reporting], axis=0) if reporting in minor else minor[[]]
    factors = factors.assign(**{reporting: 1.0})
    long = factors.melt(ignore_index=False, var_name="currency", value_name="to_reporting").dropna().reset_index()
    rates_of: pd.DataFrame = long.assign(rate_on=long["rate_on"].dt.date)
    return rates_of[["currency", "rate_on", "to_reporting"]]
