"""The nine event types, declared once: tables, schemas, decoders, expectations and the dictionary follow from here."""

from __future__ import annotations

from typing import Any

from wayfare.contracts.model import JSON_SCHEMA, EventType, Field, Kind, Rule
from wayfare.errors import DeclarationError, nearest

PRODUCTS = ("flight", "hotel", "car", "package")
CATEGORIES = ("baggage", "meal", "seat", "car", "insurance", "lounge", "transfer", "activity", "other")


def _field(kind: Kind, name: str, doc: str, *, signed: bool = False) -> Field:
    return Field(name, kind, doc, signed=signed)


def _choice(name: str, choices: tuple[str, ...], doc: str) -> Field:
    return Field(name, Kind.CHOICE, doc, choices=choices)


def _optional(kind: Kind, name: str, doc: str) -> Field:
    return Field(name, kind, doc, required=False)


ENVELOPE = (
    _field(Kind.UUID, "event_id", "Identity of the event, for de-duplication."),
    _field(Kind.TEXT, "schema_version", "SchemaVer of the contract the event was written to."),
    _field(Kind.INSTANT, "occurred_at", "When it happened, by the producer's clock."),
    _field(Kind.ID, "source", "Producing system: web, app, agent-desk, gds, import:NAME."),
    _optional(Kind.TEXT, "channel", "Marketing or sales channel."),
    _optional(Kind.COUNTRY, "point_of_sale", "Market the customer bought in, ISO 3166-1 alpha-2."),
    _optional(Kind.ID, "customer_id", "Known customer; pseudonymized at landing when a key is configured."),
    _optional(Kind.ID, "visitor_id", "Anonymous device or browser."),
    _optional(Kind.ID, "session_id", "The producer's own session, kept but not trusted for sessionization."),
    _optional(Kind.TEXT, "campaign_source", "Campaign source, for attribution."),
    _optional(Kind.TEXT, "campaign_medium", "Campaign medium, for attribution."),
    _optional(Kind.TEXT, "campaign_name", "Campaign name, for attribution."),
    Field("is_test", Kind.FLAG, "A test event: left out of every analysis.", required=False, default=False),
)

_PARTY = (
    _optional(Kind.COUNT, "children", "Children traveling."),
    _optional(Kind.COUNT, "infants", "Infants traveling, on a lap or in a cot."),
)
_CABIN = _optional(Kind.TEXT, "cabin", "Cabin or room class as the producer names it.")
_CURRENCY = _field(Kind.CURRENCY, "currency", "ISO 4217 code of the amounts of this event.")
_CURRENCY_IF_PRICED = _optional(Kind.CURRENCY, "currency", "ISO 4217 code of the amount, required where there is one.")

_ENVELOPE_RULES = (
    Rule("too_old", "occurred_at", "occurred_at >= TIMESTAMPTZ '2000-01-01 00:00:00+00'", "is before 2000-01-01"),
    Rule(
        "in_future",
        "occurred_at",
        "occurred_at <= landed_at + INTERVAL 1 HOUR",
        "is more than one hour after it was landed; check the producer's clock",
    ),
    Rule(
        "unknown_country",
        "point_of_sale",
        "point_of_sale IN (SELECT country FROM reference_country)",
        "is not an ISO 3166-1 alpha-2 country",
    ),
)
_TRIP_ORDER = Rule(
    "ends_before_start",
    "end_on",
    "CASE WHEN product IN ('hotel', 'car') THEN end_on > start_on ELSE end_on >= start_on END",
    "is before start_on, or equal to it for a hotel or car, which need at least one night or day",
)
_KNOWN_CURRENCY = Rule(
    "unknown_currency",
    "currency",
    "currency IN (SELECT currency FROM reference_currency)",
    "is not an ISO 4217 currency",
)


def _priced(amount: str) -> Rule:
    return Rule(
        "currency_missing",
        "currency",
        f"{amount} IS NULL OR currency IS NOT NULL",
        f"is missing beside {amount}; write the ISO 4217 code of the amount",
    )


def _place(field: str) -> Rule:
    return Rule(
        "unknown_place",
        field,
        f"{field} IN (SELECT place FROM reference_place)",  # noqa: S608 - names from this file
        "is not an IATA airport or city code in the reference table",
    )


def _event(
    name: str, doc: str, *fields: Field, version: str = "1-0-0", rules: tuple[Rule, ...] = (), refers: bool = False
) -> EventType:
    return EventType(name, version, doc, (*ENVELOPE, *fields), (*_ENVELOPE_RULES, *rules), refers)


SEARCH = _event(
    "search",
    "One customer search, not one supplier call; result_count 0 is unmet demand.",
    _field(Kind.ID, "search_id", "The producer's id of the search."),
    _choice("product", PRODUCTS, "What was searched for."),
    _field(Kind.PLACE, "destination", "Where to: IATA airport or city."),
    _field(Kind.DATE, "start_on", "First local day of the trip."),
    _field(Kind.COUNT, "adults", "Adults traveling."),
    _field(Kind.COUNT, "result_count", "Results shown; 0 is unmet demand."),
    _optional(Kind.PLACE, "origin", "Where from: IATA airport or city."),
    _optional(Kind.DATE, "end_on", "Last local day of the trip."),
    *_PARTY,
    _CABIN,
    _optional(Kind.MONEY, "min_price", "Lowest price shown, minor units."),
    _CURRENCY_IF_PRICED,
    _optional(Kind.TEXT, "unavailable_reason", "Why nothing was found."),
    rules=(
        _place("destination"),
        _place("origin"),
        _KNOWN_CURRENCY,
        _priced("min_price"),
        _TRIP_ORDER,
        Rule(
            "nobody_travels",
            "adults",
            "greatest(adults, children, infants) >= 1",
            "and children and infants add up to no traveler; a search is for at least one",
        ),
        Rule("infants_exceed_adults", "infants", "infants <= adults", "are more than the adults who carry them"),
    ),
)

VIEW = _event(
    "view",
    "An item or a result looked at.",
    _choice("product", PRODUCTS, "What was looked at."),
    _field(Kind.ID, "resource_id", "What can fill up: flight:UA1545, hotel:PT-0031/double, car:LIS/compact."),
    _optional(Kind.ID, "search_id", "The search it came from."),
    _optional(Kind.MONEY, "price", "Price shown, minor units."),
    _CURRENCY_IF_PRICED,
    _optional(Kind.COUNT, "position", "Place in the list of results, from 1."),
    rules=(_KNOWN_CURRENCY, _priced("price")),
)

OFFER = _event(
    "offer",
    "A promotion shown to a customer or redeemed by one.",
    _field(Kind.ID, "offer_id", "The promotion."),
    _choice("action", ("exposed", "redeemed"), "Shown or used."),
    _optional(Kind.ID, "booking_id", "The booking it was redeemed on."),
    _optional(Kind.MONEY, "discount", "What it took off, minor units."),
    _CURRENCY_IF_PRICED,
    rules=(_KNOWN_CURRENCY, _priced("discount")),
)

BOOKING = _event(
    "booking",
    "One sold item; a booking of several items is several events sharing booking_id.",
    _field(Kind.ID, "booking_id", "The booking the item belongs to."),
    _field(Kind.ID, "item_id", "The item within the booking. What changes is cancelled and sold again."),
    _choice("product", PRODUCTS, "What was sold."),
    _field(Kind.ID, "resource_id", "What can fill up: flight:UA1545, hotel:PT-0031/double, car:LIS/compact."),
    _field(Kind.PLACE, "destination", "Where to: IATA airport or city."),
    _field(Kind.DATE, "start_on", "Departure, first night or first rental day, local."),
    _field(Kind.COUNT, "units", "Seats, rooms or vehicles."),
    _field(
        Kind.MONEY,
        "price",
        "What the customer pays for all units, tax and fee included, minor units; negative where the item is a credit.",
        signed=True,
    ),
    _CURRENCY,
    _optional(Kind.ID, "search_id", "The search it came from."),
    _optional(Kind.PLACE, "origin", "Where from: IATA airport or city."),
    _optional(Kind.DATE, "end_on", "Return, check-out or last rental day, local."),
    _optional(Kind.COUNT, "adults", "Adults traveling."),
    *_PARTY,
    _optional(Kind.MONEY, "cost", "Net due to the supplier, minor units."),
    _optional(Kind.MONEY, "tax", "Tax within the price, minor units."),
    _optional(Kind.MONEY, "fee", "The agency's fee within the price, minor units."),
    _optional(Kind.MONEY, "commission", "Commission due from the supplier, minor units."),
    _optional(Kind.ID, "offer_id", "The promotion it was sold under."),
    _optional(Kind.ID, "supplier_id", "Who supplies it."),
    _CABIN,
    rules=(
        _place("destination"),
        _place("origin"),
        _KNOWN_CURRENCY,
        _TRIP_ORDER,
        Rule("no_units", "units", "units >= 1", "is 0; a sold item has at least one unit"),
        Rule(
            "starts_before_booking",
            "start_on",
            "start_on >= event_on - 1",
            "is more than a day before the booking (one day is allowed for time zones)",
        ),
    ),
)

PURCHASE = _event(
    "purchase",
    "An ancillary, with or after a booking: a bag, a meal, a seat.",
    _field(Kind.ID, "purchase_id", "The purchase."),
    _choice("category", CATEGORIES, "What kind of ancillary."),
    _field(Kind.ID, "sku", "The article as stock knows it."),
    _field(Kind.COUNT, "quantity", "How many."),
    _field(Kind.MONEY, "price", "What the customer pays for all of them, minor units."),
    _CURRENCY,
    _optional(Kind.ID, "booking_id", "The booking it goes with."),
    _optional(Kind.ID, "item_id", "The item of that booking it goes with."),
    _optional(Kind.MONEY, "cost", "Net due to the supplier, minor units."),
    _optional(Kind.ID, "resource_id", "Where it is served: flight:UA1545, car:LIS/compact."),
    _optional(Kind.DATE, "service_on", "Local day it is served."),
    rules=(
        _KNOWN_CURRENCY,
        Rule("no_quantity", "quantity", "quantity >= 1", "is 0; a purchase has at least one"),
    ),
)

CANCELLATION = _event(
    "cancellation",
    "Sold units given back; without item_id and purchase_id it is the whole booking.",
    _field(Kind.ID, "cancellation_id", "The cancellation."),
    _field(Kind.ID, "booking_id", "The booking it cancels."),
    _field(Kind.COUNT, "units", "Units given back."),
    _choice("initiator", ("customer", "agency", "supplier"), "Who cancelled."),
    _optional(Kind.ID, "item_id", "The item it cancels."),
    _optional(Kind.ID, "purchase_id", "The ancillary it cancels."),
    _optional(Kind.MONEY, "penalty", "What the customer still pays, minor units."),
    _CURRENCY_IF_PRICED,
    _optional(Kind.TEXT, "reason", "Why."),
    rules=(
        _KNOWN_CURRENCY,
        _priced("penalty"),
        Rule("no_units", "units", "units >= 1", "is 0; a cancellation gives back at least one unit"),
    ),
    refers=True,
)

REFUND = _event(
    "refund",
    "Money paid back, at the booking's own exchange rate; never more than was paid.",
    _field(Kind.ID, "refund_id", "The refund."),
    _field(Kind.ID, "booking_id", "The booking it pays back."),
    _field(Kind.MONEY, "amount", "What is paid back, minor units."),
    _CURRENCY,
    _optional(Kind.ID, "item_id", "The item it pays back."),
    _optional(Kind.ID, "purchase_id", "The ancillary it pays back."),
    rules=(_KNOWN_CURRENCY,),
    refers=True,
)

TRAVEL = _event(
    "travel",
    "What became of a sold item.",
    _field(Kind.ID, "booking_id", "The booking."),
    _field(Kind.ID, "item_id", "The item."),
    _choice("outcome", ("completed", "no_show"), "Traveled, or never came."),
    _optional(Kind.COUNT, "units", "Units it holds for; absent: all that is left of the item."),
    refers=True,
)

INVENTORY = _event(
    "inventory",
    "A stock or capacity snapshot as of occurred_at; with sku it is ancillary stock, without it seats or rooms.",
    _field(Kind.ID, "resource_id", "What can fill up."),
    _choice("product", PRODUCTS, "What it is sold as."),
    _field(Kind.DATE, "service_on", "Departure, night or rental day, local."),
    _field(Kind.COUNT, "capacity", "Most that can be sold or loaded."),
    _field(Kind.COUNT, "on_hand", "What is there: seats allotted, meals loaded, cars on the lot."),
    _field(Kind.FLAG, "is_open", "Open for sale."),
    _optional(Kind.ID, "sku", "The article, for ancillary stock."),
    _optional(Kind.ID, "location", "Where the stock is: airport, depot, property."),
)

EVENT_TYPES: dict[str, EventType] = {
    e.name: e for e in (SEARCH, VIEW, OFFER, BOOKING, PURCHASE, CANCELLATION, REFUND, TRAVEL, INVENTORY)
}
"""Every event type at each of its major versions, by name."""


def json_schema(name: str | None = None) -> dict[str, Any]:
    """JSON Schema of one event type, or one that an event of any type fits; see `EventType.json_schema`.

    Raises
    ------
    DeclarationError
        There is no event type of that name; says which is near.
    """
    if name is None:
        definitions = {n: e.json_schema() for n, e in EVENT_TYPES.items()}
        choices = [{"$ref": f"#/$defs/{n}"} for n in definitions]
        return {"$schema": JSON_SCHEMA, "title": "event", "oneOf": choices, "$defs": definitions}
    if name not in EVENT_TYPES:
        raise DeclarationError(f"there is no event type {name!r}{nearest(name, EVENT_TYPES)}")
    return EVENT_TYPES[name].json_schema()
