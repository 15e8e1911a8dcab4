"""Buy till you die: how often customers of one business will buy again, and for how much, from what they bought so far.

BG/NBD (Fader, Hardie & Lee, "Counting Your Customers" the Easy Way, Marketing Science 24, 2005): a customer buys at
the Poisson rate lambda ~ Gamma(r, alpha) and drops out after any purchase with probability p ~ Beta(a, b).
Gamma-Gamma (Fader & Hardie, The Gamma-Gamma Model of Monetary Value, 2013): what a customer spends on a purchase is
Gamma(p, v) with v ~ Gamma(q, gamma), independent of how often.

Parameters maximize the likelihood; they are searched from 1, in units of the longest T and of the mean value, between
1e-3 and 1e3: beyond, customers are as good as alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma as psi
from scipy.special import expit, gammaln, hyp2f1

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]

LEAST = 30
"""Customers with a repeat purchase without whom nothing is fitted."""
LIMIT = 1e3


FORECAST = ("alive_probability", "expected_purchases", "expected_purchase_margin")


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories of customers, as columns: x repeat purchases that came to `spent`, and `n` customers with this history.

    The last purchase was `t_x` after the first, and the history is looked at `age` (T) after the first.
    """

    x: Floats
    t_x: Floats
    age: Floats
    spent: Floats
    n: Floats

    @property
    def is_spender(self) -> npt.NDArray[np.bool_]:
        """Whether the repeat purchases came to a positive amount, which Gamma-Gamma takes for granted."""
        return (self.x > 0) & (self.spent > 0)


@dataclass(frozen=True, slots=True)
class Purchases:
    """BG/NBD of a customer base; `alpha` is in the unit of t_x and T."""

    r: float
    alpha: float
    a: float
    b: float

    def alive(self, h: Histories) -> Floats:
        """P(the customer has not dropped out); 1 before a repeat purchase (Fader, Hardie & Lee 2008, note 021)."""
        odds = self.log_odds_of_death(h.x, np.log(self.alpha + h.t_x), np.log(self.alpha + h.age))
        return np.asarray(expit(-odds), np.float64)

    def expected(self, h: Histories, time: float) -> Floats:
        """Expected purchases in the `time` to come (eq. 10 of Fader, Hardie & Lee 2005); NaN beyond floating point.

        2F1 as it stands grows with r + x, after Euler's transformation with a - 1: the smaller one is taken. Where a or
        a + b is 1 the quotients have only a limit, and a neighbor stands in for it.
        """
        is_limit = min(abs(self.a - 1), abs(self.a + self.b - 1)) < 1e-6
        a, x = self.a + 3e-6 * is_limit, h.x
        total = a + self.b
        left = (self.alpha + h.age) / (self.alpha + h.age + time)
        is_many = self.r + x > a - 1
        one = np.where(is_many, total - 1 - self.r, self.r + x)
        other = np.where(is_many, a - 1, self.b + x)
        with np.errstate(invalid="ignore", over="ignore"):
            gone = 1 - left ** np.where(is_many, a - 1, self.r + x) * hyp2f1(one, other, total + x - 1, 1 - left)
            return np.asarray((total + x - 1) / (a - 1) * gone * self.alive(h), np.float64)

    def log_odds_of_death(self, x: Floats, log_t: Floats, log_age: Floats) -> Floats:
        """From the logarithms of alpha + t_x and alpha + T; minus infinity before a repeat purchase."""
        last = np.where(x > 0, self.b + x - 1, 1.0)
        return np.where(x > 0, np.log(self.a / last) + (self.r + x) * (log_age - log_t), -np.inf)


@dataclass(frozen=True, slots=True)
class Spending:
    """Gamma-Gamma of a customer base; `gamma` is in the unit of what was spent."""

    p: float
    q: float
    gamma: float

    def expected(self, h: Histories) -> Floats:
        """Expected value of a purchase to come (eq. 5); NaN of whose repeat purchases came to 0 or less."""
        mean = self.p * (self.gamma + h.spent) / (self.p * h.x + self.q - 1)
        return np.where((h.x == 0) | h.is_spender, mean, np.nan)


def forecast(h: Histories, time: float) -> dict[str, Floats]:
    """What both models, fitted to these histories, expect of each in the `time` to come; NaN where they cannot say.

    Rounded to what the search settles: four digits and whole units.
    """
    buying, spending = fit_purchases(h), fit_spending(h)
    nothing = np.full(len(h.x), np.nan)
    alive = buying.alive(h).round(4) if buying else nothing
    purchases = buying.expected(h, time).round(4) if buying else nothing
    margin = spending.expected(h).round() if spending else nothing
    return dict(zip(FORECAST, (alive, purchases, margin), strict=True))


def fit_purchases(h: Histories) -> Purchases | None:
    """The most likely BG/NBD; None with fewer than `LEAST` repeat customers, or if the search does not settle."""
    x, n = h.x, h.n
    if n[x > 0].sum() < LEAST:
        return None
    unit = float(h.age.max())
    t_x, age = h.t_x / unit, h.age / unit
    xs, times = _tallied(x, n)

    def likelihood(parameters: Floats) -> tuple[float, list[float]]:
        r, alpha, a, b = parameters
        log_t, log_age = np.log(alpha + t_x), np.log(alpha + age)
        log_odds = Purchases(r, alpha, a, b).log_odds_of_death(x, log_t, log_age)
        dead = expit(log_odds)
        by_x = gammaln(r + xs) - gammaln(r) + r * np.log(alpha)
        by_x += gammaln(a + b) + gammaln(b + xs) - gammaln(b) - gammaln(a + b + xs)
        log_wait = (1 - dead) * log_age + dead * log_t
        wait = (1 - dead) / (alpha + age) + dead / (alpha + t_x)
        of_both = _sum(times, psi(a + b) - psi(a + b + xs))
        return _sum(times, by_x) + _sum(n, np.logaddexp(0, log_odds) - (r + x) * log_age), [
            _sum(times, psi(r + xs) - psi(r) + np.log(alpha)) - _sum(n, log_wait),
            _sum(n, r / alpha - (r + x) * wait),
            of_both + _sum(n, dead) / a,
            of_both + _sum(times, psi(b + xs) - psi(b)) - _sum(n, dead / np.where(x > 0, b + x - 1, 1)),
        ]

    found = _most_likely(likelihood, 4, n.sum())
    return Purchases(found[0], found[1] * unit, found[2], found[3]) if found else None


def fit_spending(h: Histories) -> Spending | None:
    """The most likely Gamma-Gamma of those whose repeat purchases came to a positive amount.

    None with fewer than `LEAST` of them, if the search does not settle, or if the mean it finds is infinite (q <= 1).
    """
    x, spent, n = h.x[h.is_spender], h.spent[h.is_spender], h.n[h.is_spender]
    if n.sum() < LEAST:
        return None
    unit = _sum(n, spent / x) / float(n.sum())
    spent = spent / unit
    xs, times = _tallied(x, n)
    log_spent = np.log(spent)

    def likelihood(parameters: Floats) -> tuple[float, list[float]]:
        p, q, gamma = parameters
        log_all = np.log(gamma + spent)
        by_x = gammaln(p * xs + q) - gammaln(p * xs) - gammaln(q) + q * np.log(gamma)
        return _sum(times, by_x) + _sum(n, p * x * log_spent - (p * x + q) * log_all), [
            _sum(times, xs * (psi(p * xs + q) - psi(p * xs))) + _sum(n, x * (log_spent - log_all)),
            _sum(times, psi(p * xs + q) - psi(q) + np.log(gamma)) - _sum(n, log_all),
            _sum(n, q / gamma - (p * x + q) / (gamma + spent)),
        ]

    found = _most_likely(likelihood, 3, n.sum())
    return Spending(found[0], found[1], found[2] * unit) if found and found[1] > 1 else None


def _tallied(x: Floats, n: Floats) -> tuple[Floats, Floats]:
    """The different values of x with the customers that have each: gamma functions of x are computed once."""
    values, at = np.unique(x, return_inverse=True)
    return values, np.bincount(at, n).astype(np.float64)


def _sum(weights: Floats, values: Floats) -> float:
    """Not `@`: BLAS may share the sum out among threads, and then their number decides the last digits."""
    return float((weights * values).sum())


def _most_likely(
    likelihood: Callable[[Floats], tuple[float, list[float]]], parameters: int, customers: float
) -> list[float] | None:
    """The positive parameters of the greatest log-likelihood, searched on their logarithms; it comes with slopes."""

    def cost(logs: Floats) -> tuple[float, Floats]:
        values = np.exp(logs)
        found, slopes = likelihood(values)
        return -found / customers, -values * slopes / customers

    bound = np.log(LIMIT)
    # Not L-BFGS-B: its BLAS wakes threads for vectors of four, ten times the cost of everything else.
    found = minimize(
        cost,
        np.zeros(parameters),
        jac=True,
        method="SLSQP",
        bounds=[(-bound, bound)] * parameters,
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    return [float(value) for value in np.exp(found.x)] if found.success else None
