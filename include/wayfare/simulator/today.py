"""What every part of a simulated day works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wayfare.simulator import columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from wayfare.simulator.mail import Mail
    from wayfare.simulator.stock import Stock
    from wayfare.simulator.world import World


@dataclass(slots=True)
class Counters:
    """The next number of each kind of id."""

    visit: int = 0
    search: int = 0
    booking: int = 0
    purchase: int = 0
    cancellation: int = 0


@dataclass(frozen=True, slots=True)
class Today:
    """A day (in days since 1970), `progress` (0 to 1) into the simulation, with `left` days to come.

    `rates` are minor units of each market's currency in a euro; `prefix` is a text that no other simulation has.
    """

    prefix: str
    day: int
    progress: float
    left: int
    rates: npt.NDArray[np.float64]
    rng: np.random.Generator
    world: World
    stock: Stock
    mail: Mail
    counters: Counters

    def ids(self, kind: str, numbers: npt.NDArray[Any]) -> pa.Array:
        """Ids like `s1f09c2-17`, which no other simulation has: what happens in one happens once."""
        return columns.numbered(f"{kind}{self.prefix}-", numbers)
