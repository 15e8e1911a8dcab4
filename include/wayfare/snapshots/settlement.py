"""What an event takes back of each sale that it is about, as steps of one SQL query over staging.

A sale is one booking or purchase event; its key is (booking_id, item_id) or purchase_id. These are the rules:

- Several sales of one key are cancelled in the order in which they were sold, so that an item may be cancelled and sold
  again.
- Per key, events are settled in the order (occurred_at, event_id) and never take back more than was sold. Of one
  instant, cancellations come before refunds and travel, whatever their ids: data stamped by the day has no other order.
  Test events are settled among themselves.
- A cancellation covers the sales made by then, or the key's first sale if that is dated later. One that names no sale
  covers all that was sold by then, at least the booking's first item: what is added to a booking later is not cancelled
  in advance.
- Travel counts once, for the last sale of its key by then, and for no more units than earlier cancellations have left.
- Test sales of a booking that also has real ones are kept apart: only an event that names one of them concerns them.
  Under the key of a real sale they are ignored.
- All amounts of a row are in `item_currency`. A refund goes to the sale it names, or else to the booking's first, among
  those sold in the refund's currency.
- Part of a sale takes `price * units taken / units`, as a running total rounded toward zero, so that all parts add up
  to the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wayfare.contracts import EVENT_TYPES

if TYPE_CHECKING:
    from wayfare.contracts import EventType

_AMOUNTS = ("price", "cost", "commission", "fee")
_READ = {
    "booking": "event_id, occurred_at, event_on, is_test, item_id, product, resource_id, destination, "
    "start_on, end_on, units, price, currency, cost, commission, fee, point_of_sale, customer_id",
    "purchase": "event_id, occurred_at, event_on, is_test, purchase_id, item_id, category, resource_id, sku, "
    "service_on, quantity, price, currency, cost, point_of_sale, customer_id",
    "cancellation": "event_id, occurred_at, is_test, item_id, purchase_id, units, penalty, currency",
    "refund": "event_id, occurred_at, is_test, item_id, purchase_id, amount, currency",
    "travel": "event_id, occurred_at, is_test, item_id, units",
}
"""What is read of each type: every major version of it must have these fields, meaning the same."""


def _shares(units: str, before: str, after: str) -> str:
    """Amounts of a sale for the units from `before` to `after` of its `units`, as running totals."""
    return ", ".join(
        f"coalesce(div({amount}::numeric * ({after}), nullif({units}, 0))"
        f" - div({amount}::numeric * ({before}), nullif({units}, 0)), 0)::bigint AS reversed_{amount}"
        for amount in _AMOUNTS
    )


def _of_scope(event_type: str) -> str:
    """Join of `scope s` with its events of a type, by index and one booking at a time whatever the planner estimates.

    They are of every major version. OFFSET 0 keeps the subquery from being merged into a join of another kind.
    """
    events = " UNION ALL ".join(
        f"SELECT {_READ[event_type]} FROM staging.{e.name} WHERE booking_id = s.booking_id AND batch_id <= s.as_of"  # noqa: S608 - names come from the contracts
        for e in EVENT_TYPES.values()
        if e.type == event_type
    )
    return f"CROSS JOIN LATERAL ({events} OFFSET 0)"


def _taken(asked: str) -> str:
    """Cancellations of a key with the units of it that are gone before and after each.

    None takes more than it asks for, and none reaches past what was sold by then: what is gone is asked for, less all
    that was asked past a reach. Reaches only grow, so the furthest such overrun up to an event is what counts.
    """
    return f"""
  SELECT *, coalesce(lag(after) OVER earlier, 0) AS before
  FROM (
    SELECT *, so_far + least(0, min(reach - so_far) OVER earlier) AS after
    FROM (SELECT *, (sum(asks) OVER earlier)::bigint AS so_far FROM {asked}
          WINDOW earlier AS (PARTITION BY scope_id, item_key, is_test ORDER BY occurred_at, event_id)) AS summed
    WINDOW earlier AS (PARTITION BY scope_id, item_key, is_test ORDER BY occurred_at, event_id)
  ) AS bounded
  WINDOW earlier AS (PARTITION BY scope_id, item_key, is_test ORDER BY occurred_at, event_id)
"""  # noqa: S608 - the name is one of those below


def _of_tests(event: str) -> str:
    """Join of an event of `scope s` with the test sale apart from its booking that it names; `t.scope_id` is theirs."""
    return f"""LEFT JOIN sale t ON t.scope_id = -s.scope_id
    AND t.item_kind = CASE WHEN {event}.purchase_id IS NULL THEN 'booking' ELSE 'purchase' END
    AND t.item_key = coalesce({event}.purchase_id, {event}.item_id) AND t.place = 1"""


_ITEMS = f"""
  SELECT s.scope_id AS booking, b.event_id AS item_event_id, 'booking' AS item_kind, b.item_id COLLATE "C" AS item_key,
    NULL AS of_item, b.product AS item_product, b.occurred_at AS item_booked_at, b.event_on AS item_booked_on,
    b.resource_id AS item_resource_id, b.destination AS item_destination, NULL AS item_sku,
    b.start_on AS item_start_on, b.end_on AS item_end_on, b.currency AS item_currency,
    b.point_of_sale AS item_point_of_sale, b.customer_id AS item_customer_id,
    coalesce(b.is_test, false) AS item_is_test, b.units::bigint AS item_units,
    b.price, b.cost, b.commission, b.fee
  FROM scope s {_of_scope("booking")} b"""  # noqa: S608 - the interpolated names are the constants below
_ANCILLARIES = f"""
  UNION ALL
  SELECT s.scope_id, p.event_id, 'purchase', p.purchase_id COLLATE "C",
    p.item_id, p.category, p.occurred_at, p.event_on, p.resource_id, NULL, p.sku, p.service_on, NULL::date, p.currency,
    p.point_of_sale, p.customer_id, coalesce(p.is_test, false), p.quantity::bigint, p.price, p.cost, NULL, NULL
  FROM scope s {_of_scope("purchase")} p"""  # noqa: S608 - the interpolated names are the constants below


def _sales(sold: str) -> str:
    """Steps from `asked`, the events of the day files, to `scope` and `sale`; `sold` are the sales of scopes.

    A scope is one booking as of one batch, whichever of these files see it so. Test sales apart from their booking are
    in a scope of their own, which has its id with a minus.
    """
    return f"""
scope AS MATERIALIZED (
  SELECT row_number() OVER () AS scope_id, *
  FROM (SELECT DISTINCT as_of, booking_id FROM asked) AS bookings
),
sold AS ({sold}
),
tested AS (
  SELECT *, bool_and(item_is_test) OVER (PARTITION BY booking) AS booking_is_test,
    bool_and(item_is_test) OVER (PARTITION BY booking, item_kind, item_key) AS key_is_test
  FROM sold
),
sale AS MATERIALIZED (
  SELECT CASE WHEN key_is_test AND NOT booking_is_test THEN -booking ELSE booking END AS scope_id, *,
    row_number() OVER of_key AS place, (sum(item_units) OVER of_key)::bigint - item_units AS sold_before
  FROM tested WHERE key_is_test OR NOT item_is_test
  WINDOW of_key AS (PARTITION BY booking, item_kind, item_key ORDER BY item_booked_at, item_event_id)
)
"""  # noqa: S608 - what is sold is one of the constants above, or both


_CANCELLED = f"""
first_sale AS (
  SELECT scope_id, coalesce(min(item_booked_at) FILTER (WHERE item_kind = 'booking'), min(item_booked_at)) AS sold_at
  FROM sale GROUP BY scope_id
),
cancelled AS MATERIALIZED (
  SELECT coalesce(t.scope_id, s.scope_id) AS scope_id, c.event_id, c.occurred_at,
    greatest(c.occurred_at, f.sold_at) AS sold_by, coalesce(c.is_test, false) AS is_test, c.item_id, c.purchase_id,
    c.units::bigint AS asked, coalesce(c.penalty, 0) AS penalty, c.currency
  FROM scope s {_of_scope("cancellation")} c
  {_of_tests("c")}
  LEFT JOIN first_sale f ON f.scope_id = coalesce(t.scope_id, s.scope_id)
),
reached AS MATERIALIZED (
  SELECT c.scope_id, c.event_id, s.item_kind, s.item_key, bool_or(s.item_booked_at <= c.sold_by) AS is_sold,
    min(s.of_item) FILTER (WHERE s.place = 1) AS of_item,
    (sum(s.item_units) FILTER (WHERE s.place = 1 OR s.item_booked_at <= c.sold_by))::bigint AS reach
  FROM cancelled c JOIN sale s USING (scope_id)
  GROUP BY c.scope_id, c.event_id, s.item_kind, s.item_key
),
size AS (
  SELECT scope_id, event_id, count(*) AS items FROM reached WHERE item_kind = 'booking' AND is_sold
  GROUP BY scope_id, event_id
),
item_asked AS (
  SELECT c.*, i.item_kind, i.item_key, i.reach,
    CASE WHEN c.item_id IS NULL AND z.items > 1 THEN i.reach ELSE c.asked END AS asks
  FROM cancelled c JOIN size z USING (scope_id, event_id) JOIN reached i USING (scope_id, event_id)
  WHERE i.item_kind = 'booking' AND c.purchase_id IS NULL
    AND (i.item_key = c.item_id OR c.item_id IS NULL AND i.is_sold)
),
item_taken AS MATERIALIZED ({_taken("item_asked")})"""  # noqa: S608 - the interpolated names are the constants above

_LEDGER = f"""
gone AS (
  SELECT scope_id, event_id, bool_and(after >= reach) AS is_gone FROM item_taken GROUP BY scope_id, event_id
),
purchase_asked AS (
  SELECT c.*, p.item_kind, p.item_key, p.reach, CASE WHEN c.purchase_id IS NULL THEN p.reach ELSE c.asked END AS asks
  FROM cancelled c
  JOIN reached p ON p.scope_id = c.scope_id AND p.event_id = c.event_id AND p.item_kind = 'purchase'
  LEFT JOIN gone g ON g.scope_id = c.scope_id AND g.event_id = c.event_id
  LEFT JOIN size z ON z.scope_id = c.scope_id AND z.event_id = c.event_id
  WHERE CASE
    WHEN c.purchase_id IS NOT NULL THEN p.item_key = c.purchase_id
    WHEN NOT p.is_sold THEN false
    WHEN c.item_id IS NULL THEN coalesce(g.is_gone, true)
    ELSE g.is_gone AND (p.of_item = c.item_id OR p.of_item IS NULL AND z.items = 1)
  END
),
cancelled_share AS (
  SELECT t.*, s.place, row_number() OVER (PARTITION BY scope_id, event_id ORDER BY item_kind, item_key, s.place)
    AS item_rank, s.item_currency, part.after - part.before AS reversed_units,
    {_shares("s.item_units", "part.before", "part.after")}
  FROM (SELECT * FROM item_taken UNION ALL {_taken("purchase_asked")}) AS t
  JOIN sale s USING (scope_id, item_kind, item_key)
  CROSS JOIN LATERAL (SELECT least(s.item_units, greatest(0, t.before - s.sold_before)) AS before,
    least(s.item_units, greatest(0, t.after - s.sold_before)) AS after) AS part
  WHERE s.place = 1 OR s.sold_before < t.reach
),
penalized AS (
  SELECT *, CASE WHEN currency = item_currency THEN greatest(reversed_price, 0) ELSE 0 END AS bears
  FROM cancelled_share
),
settled AS (
  SELECT *, least(penalty, sum(bears) OVER rows) - least(penalty, sum(bears) OVER rows - bears) AS kept_penalty
  FROM penalized
  WINDOW rows AS (PARTITION BY scope_id, event_id ORDER BY item_rank)
),
captured AS (
  SELECT scope_id, item_currency, greatest(sum(price), 0) AS captured FROM sale GROUP BY scope_id, item_currency
),
refunded AS (
  SELECT coalesce(t.scope_id, s.scope_id) AS scope_id, r.event_id, r.occurred_at,
    coalesce(r.is_test, false) AS is_test, r.currency, r.item_id, r.purchase_id, r.amount,
    coalesce(c.captured, 0) AS captured
  FROM scope s {_of_scope("refund")} r
  {_of_tests("r")}
  LEFT JOIN captured c ON c.scope_id = coalesce(t.scope_id, s.scope_id) AND c.item_currency = r.currency
),
refund_sale AS (
  SELECT DISTINCT ON (r.scope_id, r.event_id) r.scope_id, r.event_id, s.item_kind, s.item_key, s.place
  FROM refunded r JOIN sale s ON s.scope_id = r.scope_id
  ORDER BY r.scope_id, r.event_id, s.item_currency = r.currency DESC,
    coalesce(s.item_kind = 'purchase' AND s.item_key = r.purchase_id
      OR r.purchase_id IS NULL AND s.item_kind = 'booking' AND s.item_key = r.item_id, false) DESC,
    s.item_kind, s.item_key, s.place
),
ledger AS (
  SELECT scope_id, event_id, occurred_at, is_test, item_kind, item_key, place, item_rank, item_currency AS currency,
    reversed_units, reversed_price, reversed_cost, reversed_commission, reversed_fee, kept_penalty,
    reversed_price - kept_penalty AS taken_off, 0 AS paid_back
  FROM settled
  UNION ALL
  SELECT r.scope_id, r.event_id, r.occurred_at, r.is_test, s.item_kind, s.item_key, s.place, 1, r.currency,
    0, paid, 0, 0, 0, 0, 0, paid
  FROM (SELECT *, least(captured, sum(amount) OVER earlier) - least(captured, sum(amount) OVER earlier - amount) AS paid
        FROM refunded
        WINDOW earlier AS (PARTITION BY scope_id, currency, is_test ORDER BY occurred_at, event_id)) AS r
  LEFT JOIN refund_sale s USING (scope_id, event_id)
),
balance AS (
  -- Cancellations take off, refunds pay out: whichever is ahead counts. A refund of 0 settles nothing.
  SELECT *, greatest(sum(taken_off) OVER earlier, nullif(sum(paid_back) OVER earlier, 0)) AS given
  FROM ledger
  WINDOW earlier AS (PARTITION BY scope_id, currency, is_test ORDER BY occurred_at, paid_back > 0, event_id, item_rank)
),
referred AS (
  SELECT *, given - lag(given, 1, 0::numeric) OVER (
    PARTITION BY scope_id, currency, is_test ORDER BY occurred_at, paid_back > 0, event_id, item_rank) AS given_back
  FROM balance
)
"""  # noqa: S608 - the interpolated names are the constants above

_TRAVELED = f"""
traveled AS MATERIALIZED (
  SELECT DISTINCT ON (t.event_id, s.scope_id) s.scope_id, t.event_id, t.occurred_at, t.units,
    coalesce(t.is_test, false) AS is_test, s.item_kind, s.item_key, s.place, s.sold_before, s.item_units,
    s.price, s.cost, s.commission, s.fee
  -- OFFSET 0: looked up once for a booking, not for each of its sales.
  FROM (SELECT s.scope_id, t.* FROM scope s {_of_scope("travel")} t OFFSET 0) AS t
  JOIN sale s ON abs(s.scope_id) = t.scope_id AND s.item_key = t.item_id
  ORDER BY t.event_id, s.scope_id, s.place > 1 AND s.item_booked_at > t.occurred_at, s.place DESC
),
taken_by_then AS (
  SELECT t.scope_id, t.event_id, max(c.after) AS after
  FROM traveled t JOIN item_taken c USING (scope_id, item_key, is_test)
  WHERE c.occurred_at <= t.occurred_at
  GROUP BY t.scope_id, t.event_id
),
held AS (
  SELECT t.*, gone, CASE WHEN row_number() OVER (
    PARTITION BY scope_id, item_key, place, is_test ORDER BY occurred_at, event_id
  ) = 1 THEN least(coalesce(units, item_units), item_units - gone) ELSE 0 END AS held_units
  FROM traveled t LEFT JOIN taken_by_then USING (scope_id, event_id)
  CROSS JOIN LATERAL (SELECT least(item_units, greatest(0, coalesce(after, 0) - sold_before)) AS gone) AS part
),
referred AS (
  SELECT scope_id, event_id, item_kind, item_key, place, 1 AS item_rank, held_units AS reversed_units,
    {_shares("item_units", "gone", "gone + held_units")}, 0 AS kept_penalty, 0 AS given_back
  FROM held
)
"""  # noqa: S608 - the interpolated names are the constants above


def steps(event_type: EventType) -> str:
    """The common table expressions from `asked` (events of a type, `as_of` a batch) to `scope`, `sale` and `referred`.

    `asked` must come before them. `referred` has a row for each event and sale that it is about.
    """
    if event_type.type == "travel":  # of items alone: to what is left of them ancillaries do not matter
        return f"{_sales(_ITEMS)},\n{_CANCELLED},{_TRAVELED}"
    return f"{_sales(_ITEMS + _ANCILLARIES)},\n{_CANCELLED},{_LEDGER}"
