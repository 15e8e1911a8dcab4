"""BG/NBD and Gamma-Gamma against the figures published for CDNOW, and against the integrals they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_genlaguerre, roots_jacobi

from wayfare.analyses.models import btyd

if TYPE_CHECKING:
    from wayfare.analyses.models.btyd import Floats

CDNOW = btyd.Purchases(r=0.243, alpha=4.414, a=0.793, b=2.426)
CDNOW_SPENDING = btyd.Spending(p=6.25, q=3.74, gamma=15.44)


def _histories(x: list[float], t_x: list[float], age: list[float], spent: list[float] | None = None) -> btyd.Histories:
    columns = (np.array(c, float) for c in (x, t_x, age, spent or [0.0] * len(x), [1.0] * len(x)))
    return btyd.Histories(*columns)


def test_the_worked_example_of_the_paper() -> None:
    """Fader, Hardie & Lee 2005: two repeat purchases, the last in week 30.43 of 38.86, and the next 39 weeks."""
    assert CDNOW.expected(_histories([2], [30.43], [38.86]), 39)[0] == pytest.approx(1.226, abs=0.0005)


def test_what_a_customer_of_the_paper_spends_is_between_the_own_mean_and_that_of_all() -> None:
    """Fader & Hardie 2013: CDNOW customers spend 35.2 on average; more purchases weigh more."""
    none, few, many = CDNOW_SPENDING.expected(_histories([0, 1, 50], [0, 9, 9], [9, 9, 9], [0, 10, 500]))
    assert none == pytest.approx(6.25 * 15.44 / 2.74)
    assert 10 < many < few < none
    assert many == pytest.approx(10, abs=0.5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 12),
    st.floats(0.1, 1),
    st.floats(1, 100),
    st.tuples(*(st.floats(least, most) for least, most in ((0.3, 3), (2, 40), (0.4, 4), (0.6, 4)))),
    st.floats(1, 100),
)
def test_the_closed_forms_equal_the_integrals(
    x: int, share: float, age: float, parameters: tuple[float, float, float, float], time: float
) -> None:
    """Averages over a customer's rate and dropout, by Gauss quadrature, of what is known for each (2005, eqs. 1, 3)."""
    r, alpha, a, b = (value + 1e-9 for value in parameters)  # the quadrature divides by 0 where a + b is 1
    t_x = share * age if x else 0.0
    model, one = btyd.Purchases(r, alpha, a, b), _histories([x], [t_x], [age])
    rates, of_rate = roots_genlaguerre(60, r + x - 1)
    drops, of_drop = roots_jacobi(60, b + x - 1, a - 1)
    u, p = rates[:, None], (1 + drops[None, :]) / 2

    def mean(end: float, value: Floats, of_p: Floats) -> float:
        """Of `value` over the customers, each lambda being u / (alpha + end)."""
        return float((of_rate[:, None] * of_p[None, :] * value).sum() / (alpha + end) ** (r + x))

    alive = mean(age, np.ones_like(p), of_drop)
    dead = mean(t_x, np.ones_like(p), roots_jacobi(60, b + x - 2, a)[1]) if x else 0.0
    to_come = mean(age, -np.expm1(-u / (alpha + age) * p * time) / p, of_drop)
    assert model.alive(one)[0] == pytest.approx(alive / (alive + dead), rel=1e-6)
    assert model.expected(one, time)[0] == pytest.approx(to_come / (alive + dead), rel=1e-4)


def _simulated(customers: int, seed: int, *, r: float, alpha: float, a: float, b: float) -> btyd.Histories:
    """Customers who first buy over two years, with Gamma-Gamma spending (p, q, gamma of CDNOW)."""
    chance = np.random.default_rng(seed)
    rows = []
    for age in chance.uniform(0, 730, customers):
        rate, drop, scale = chance.gamma(r, 1 / alpha), chance.beta(a, b), chance.gamma(3.74, 1 / 15.44)
        x, last, at = 0, 0.0, chance.exponential(1 / rate)
        while at <= age:
            x, last = x + 1, at
            at = at + chance.exponential(1 / rate) if chance.random() >= drop else np.inf
        rows.append((x, last, age, chance.gamma(6.25 * x, 1 / scale) if x else 0.0, 1.0))
    return btyd.Histories(*np.array(rows).T)


def test_a_fit_finds_the_parameters_that_customers_were_made_with() -> None:
    seen = _simulated(12_000, 7, r=0.8, alpha=120, a=0.8, b=2.5)
    found, spending = btyd.fit_purchases(seen), btyd.fit_spending(seen)
    assert found is not None
    assert spending is not None
    assert (found.r, found.alpha) == pytest.approx((0.8, 120), rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(0.8 / 3.3, rel=0.1)
    assert (spending.p, spending.q, spending.gamma) == pytest.approx((6.25, 3.74, 15.44), rel=0.15)


def test_no_neighbor_is_more_likely_than_the_fit() -> None:
    """The likelihood written as in the paper; the fit is at its top to five digits of each parameter."""
    seen = _simulated(400, 3, r=0.8, alpha=120, a=0.8, b=2.5)
    found = btyd.fit_purchases(seen)
    assert found is not None

    def likelihood(model: btyd.Purchases) -> float:
        from scipy.special import betaln, gammaln

        r, alpha, a, b = model.r, model.alpha, model.a, model.b
        x, t_x, age = seen.x, seen.t_x, seen.age
        live = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
        with np.errstate(invalid="ignore"):
            dead = betaln(a + 1, b + x - 1) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
        both = np.where(x > 0, np.logaddexp(live, dead), live)
        return float((gammaln(r + x) - gammaln(r) + r * np.log(alpha) + both).sum())

    top = likelihood(found)
    for name in ("r", "alpha", "a", "b"):
        for factor in (0.98, 1.02):
            moved = {n: getattr(found, n) * (factor if n == name else 1) for n in ("r", "alpha", "a", "b")}
            assert likelihood(btyd.Purchases(**moved)) < top


def test_a_history_that_many_share_counts_as_often() -> None:
    rows = _histories([0, 1, 3, 0], [0, 20, 70, 0], [90, 80, 90, 30], [0, 40, 90, 0])
    counts = np.array([60, 25, 30, 40])
    once = btyd.Histories(rows.x, rows.t_x, rows.age, rows.spent, counts.astype(float))
    columns = [np.repeat(c, counts) for c in (rows.x, rows.t_x, rows.age, rows.spent, np.ones(4))]
    together, apart = btyd.forecast(once, 365), btyd.forecast(btyd.Histories(*columns), 365)
    for name in btyd.FORECAST:
        assert np.isfinite(together[name]).all()
        assert np.repeat(together[name], counts) == pytest.approx(apart[name], rel=1e-3)


def test_nothing_is_expected_from_too_few() -> None:
    few = _histories([1] * 29 + [0] * 500, [5.0] * 29 + [0.0] * 500, [9.0] * 529, [7.0] * 29 + [0.0] * 500)
    assert all(np.isnan(values).all() for values in btyd.forecast(few, 365).values())


def test_who_lost_money_has_no_expected_value_and_the_others_do() -> None:
    chance = np.random.default_rng(1)
    spent = [*chance.gamma(3, 100, 60), -5.0, 0.0]
    seen = _histories([1.0] * 61 + [0.0], [5.0] * 61 + [0.0], [9.0] * 62, spent)
    margin = btyd.forecast(seen, 365)["expected_purchase_margin"]
    assert np.flatnonzero(np.isnan(margin)).tolist() == [60]


@pytest.mark.parametrize(("a", "b"), [(1e-3, 1e3), (1e3, 1e-3), (1e3, 1e3), (1e-3, 1e-3), (1, 3), (0.5, 0.5)])
@pytest.mark.parametrize(("r", "alpha"), [(1e-3, 1), (1e3, 1e6), (0.5, 100)])
def test_expectations_are_numbers_at_the_limits_of_the_search(r: float, alpha: float, a: float, b: float) -> None:
    seen = _histories([0, 0, 1, 3, 300, 700], [0, 0, 1, 700, 600, 729], [0, 730, 730, 730, 600, 730])
    found = btyd.Purchases(r, alpha, a, b).expected(seen, 365)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
