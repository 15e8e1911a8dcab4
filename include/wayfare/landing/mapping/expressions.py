"""The small language of a mapping's values, compiled to DuckDB SQL over columns of text.

A value is text with `{names}` of columns or named values (`"hotel:PT/{room}"`; `"{adr}"` alone keeps its type), a
number, true or false, or a table with one operation:

    {lookup = NAME, of = V, take = COLUMN, otherwise = V}   not found and no `otherwise`: an error
    {extract = "([0-9]+) adult", of = V, otherwise = V}     the group, or the whole match; no match: an error
    {upper = V}  {lower = V}
    {first = [V, ..]}                         the first that is not absent
    {value = V, when = CONDITION}             absent unless the condition holds
    {number = V, decimal = ",", thousands = ".", round = 2}
    {sum = [V, ..]}  {difference = [V, V]}  {product = [V, ..]}          exact decimals
    {quotient = [V, V]}                       rounded to nine digits after the point
    {money = V, currency = V, round = true}   minor units; without `round` a fraction of one is an error
    {whole = V}                               a whole number, such as an amount that already is in minor units
    {date = V, format = "%d/%m/%Y"}           without `format`: 2026-01-31; `format` may be a list
    {date = INSTANT, zone = V}                the local day of an instant
    {year = V, month = V, day = V}            month by number or English name
    {before = DATE, days = V}  {after = DATE, days = V}
    {days_from = DATE, to = DATE}             a whole number
    {on = DATE, at = V, zone = V}             an instant, local to `zone`
    {instant = V, format = "...", zone = V}   without `format`, with `zone`: 2026-01-31 12:00:00, local to it
    {unix = V}                                seconds since 1970

A condition is a table of tests on names, all of which must hold: `{status = "Canceled"}`, `{status = ["A", "B"]}`,
`{status = {not = "A"}}`, `{nights = {above = 0, at_most = 9}}` (also below, at_least; the bound may be a value),
`{code = {matches = "^H"}}`, `{agent = {present = false}}`; `{any = [CONDITION, ..]}` holds where one does. Only
`present = false` holds for something absent. What comes of something absent is absent.

Whatever the mapping says enters SQL as an escaped literal or as the quoted name of a known column. Regular expressions
are RE2's, which take time in proportion to the text.
"""

from __future__ import annotations

from wayfare.landing.mapping import numbers, texts, times

OPERATIONS = texts.OPERATIONS | numbers.OPERATIONS | times.OPERATIONS
