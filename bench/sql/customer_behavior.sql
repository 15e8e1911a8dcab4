WITH reversal AS (
    SELECT
        item_customer_id AS customer_id, c.booking_id, item_kind, reversed_units, given_back, item_booked_on,
        item_currency AS currency, greatest(event_on, item_booked_on) AS changed_on,
        least(event_on, item_booked_on) AS since_on
    FROM cancellation AS c
    WHERE (item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking))
        OR (item_kind = 'purchase' AND item_event_id IN (SELECT event_id FROM purchase))
    UNION ALL
    SELECT
        item_customer_id, booking_id, item_kind, reversed_units, given_back, item_booked_on, currency,
        greatest(event_on, item_booked_on), least(event_on, item_booked_on)
    FROM refund
    WHERE (item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking))
        OR (item_kind = 'purchase' AND item_event_id IN (SELECT event_id FROM purchase))
),
known AS (
    SELECT
        customer_id, booking_id, event_on AS changed_on, event_on AS since_on, event_on AS booked_on,
        occurred_at AS booked_at, start_on, end_on, product, point_of_sale AS market, 1 AS items, units,
        round(price * to_reporting)::BIGINT AS price, price AS spend, to_reporting IS NULL AS is_priceless,
        to_reporting IS NULL AS is_rateless, 0 AS searches, 0 AS destinations
    FROM booking AS b LEFT JOIN rates AS r ON r.currency = b.currency AND rate_on = event_on
    WHERE customer_id IS NOT NULL
    UNION ALL BY NAME
    SELECT
        customer_id, b.booking_id, b.event_on AS changed_on, b.event_on AS since_on, b.event_on AS booked_on,
        count(*) AS searches, count(DISTINCT s.destination) AS destinations
    FROM booking AS b JOIN search AS s USING (customer_id)
    WHERE s.occurred_at < b.occurred_at AND s.event_on >= b.event_on - 30
    GROUP BY customer_id, b.booking_id, b.event_id, b.event_on
    UNION ALL BY NAME
    SELECT
        customer_id, booking_id, changed_on, since_on, if(item_kind = 'booking', -reversed_units, 0) AS units,
        -round(given_back * to_reporting)::BIGINT AS spend, to_reporting IS NULL AS is_rateless
    FROM reversal AS v LEFT JOIN rates AS r ON r.currency = v.currency AND rate_on = item_booked_on
    WHERE customer_id IS NOT NULL
    UNION ALL BY NAME
    SELECT
        customer_id, booking_id, event_on AS changed_on, event_on AS since_on,
        round(price * to_reporting)::BIGINT AS spend, to_reporting IS NULL AS is_rateless
    FROM purchase AS p LEFT JOIN rates AS r ON r.currency = p.currency AND rate_on = event_on
    WHERE customer_id IS NOT NULL
    UNION ALL BY NAME
    SELECT
        customer_id, event_on AS changed_on, event_on AS since_on,
        count(*) FILTER (action = 'exposed') AS exposed, count(*) FILTER (action = 'redeemed') AS redeemed
    FROM offer WHERE customer_id IS NOT NULL GROUP BY customer_id, event_on
),
booked AS MATERIALIZED (
    SELECT
        output_on AS as_of_on, customer_id, booking_id, min(booked_on) AS booked_on, min(booked_at) AS booked_at,
        min(start_on) AS start_on, max(end_on) AS end_on, min(market) AS market,
        if(min(product) = max(product), min(product), 'package') AS product, sum(items)::BIGINT AS items,
        sum(units)::BIGINT AS units, if(bool_or(is_priceless), NULL, sum(price)::BIGINT) AS price,
        sum(spend)::BIGINT AS spend, bool_or(is_rateless) AS is_rateless, sum(exposed)::BIGINT AS exposed,
        sum(redeemed)::BIGINT AS redeemed,
        max(searches) FILTER (booked_on >= output_on - 335) AS searches,
        max(destinations) FILTER (booked_on >= output_on - 335) AS destinations
    FROM (SELECT * REPLACE (if(items = 1, price, spend) AS spend) FROM known)
    JOIN days ON output_on BETWEEN changed_on AND since_on + 365
    GROUP BY ALL
),
net AS (FROM booked WHERE items > 0 AND units > 0),
customer AS MATERIALIZED (
    SELECT
        as_of_on, customer_id,
        count(*) FILTER (items > 0) AS bookings,
        count(*) FILTER (items > 0 AND units > 0) AS net_bookings,
        coalesce(sum(units) FILTER (items > 0), 0) AS net_units,
        min(booked_on) FILTER (items > 0 AND units > 0) AS first_net_on,
        avg(start_on - booked_on) FILTER (items > 0 AND units > 0) AS mean_lead_time_days,
        avg(end_on - start_on) FILTER (items > 0 AND units > 0) AS mean_trip_nights,
        avg(searches) FILTER (items > 0 AND units > 0) AS searches_before_booking,
        avg(destinations) FILTER (items > 0 AND units > 0) AS destinations_searched_before_booking,
        coalesce(sum(exposed), 0) AS offers_exposed, coalesce(sum(redeemed), 0) AS offers_redeemed,
        if(bool_or(is_rateless), NULL, sum(spend)) AS spend_minor
    FROM booked GROUP BY ALL HAVING bookings > 0
),
favorite_product AS (
    SELECT as_of_on, customer_id, arg_min(product, (-n, product)) AS usual_product
    FROM (SELECT as_of_on, customer_id, product, count(*) AS n FROM net GROUP BY ALL) GROUP BY ALL
),
favorite_market AS (
    SELECT as_of_on, customer_id, arg_min(market, (-n, market)) AS usual_market
    FROM (SELECT as_of_on, customer_id, market, count(*) AS n FROM net WHERE market IS NOT NULL GROUP BY ALL)
    GROUP BY ALL
),
history AS (
    SELECT
        as_of_on, customer_id, price AS value,
        booked_on - lag(booked_on) OVER made AS gap, row_number() OVER made = net_bookings AS is_latest
    FROM net JOIN customer USING (as_of_on, customer_id) WHERE net_bookings > 5
    WINDOW made AS (PARTITION BY as_of_on, customer_id ORDER BY booked_at, booking_id)
),
judged AS (
    SELECT
        as_of_on, customer_id,
        count(value) FILTER (NOT is_latest) AS value_n, median(value) FILTER (NOT is_latest) AS value_median,
        mad(value) FILTER (NOT is_latest) AS value_mad, max(value) FILTER (is_latest) AS value,
        count(gap) FILTER (NOT is_latest) AS gap_n, median(gap) FILTER (NOT is_latest) AS gap_median,
        mad(gap) FILTER (NOT is_latest) AS gap_mad, max(gap) FILTER (is_latest) AS gap
    FROM history GROUP BY ALL
),
unusual AS (
    SELECT
        as_of_on, customer_id,
        if(value_n >= 5 AND value_mad > 0, (value - value_median) * 0.6745::DOUBLE / value_mad, NULL) AS latest_value_z,
        if(gap_n >= 5 AND gap_mad > 0, (gap - gap_median) * 0.6745::DOUBLE / gap_mad, NULL) AS latest_gap_z
    FROM judged
)
SELECT
    *,
    net_bookings >= 2 AS is_regular,
    net_bookings * 365 / 366 AS frequency,
    if(net_bookings >= 2, (as_of_on - first_net_on) / (net_bookings - 1), NULL) AS mean_days_between_bookings,
    coalesce(latest_value_z > 3.5, false) AS is_latest_value_unusual,
    coalesce(latest_gap_z > 3.5, false) AS is_latest_gap_unusual
FROM customer
LEFT JOIN favorite_product USING (as_of_on, customer_id)
LEFT JOIN favorite_market USING (as_of_on, customer_id)
LEFT JOIN unusual USING (as_of_on, customer_id)
