WITH reversal AS (
    SELECT
        item_customer_id AS customer_id, booking_id, item_kind, item_event_id, reversed_units, reversed_cost, given_back,
        item_booked_on AS rate_on, item_currency AS currency, greatest(event_on, item_booked_on) AS changed_on,
        least(event_on, item_booked_on) AS since_on
    FROM cancellation
    UNION ALL
    SELECT
        item_customer_id, booking_id, item_kind, item_event_id, reversed_units, reversed_cost, given_back, item_booked_on,
        currency, greatest(event_on, item_booked_on), least(event_on, item_booked_on)
    FROM refund
),
sold AS (
    SELECT
        customer_id, booking_id, event_on AS changed_on, event_on AS since_on, event_on AS booked_on, 1 AS items, units,
        currency, event_on AS rate_on, price AS net, price - coalesce(cost, 0) AS margin
    FROM booking
    UNION ALL BY NAME
    SELECT
        customer_id, booking_id, event_on AS changed_on, event_on AS since_on, currency, event_on AS rate_on,
        price AS net, price - coalesce(cost, 0) AS margin
    FROM purchase
    UNION ALL BY NAME
    SELECT
        customer_id, booking_id, changed_on, since_on, if(item_kind = 'booking', -reversed_units, 0) AS units, currency,
        rate_on, -given_back AS net, reversed_cost - given_back AS margin
    FROM reversal
    WHERE (item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking))
        OR (item_kind = 'purchase' AND item_event_id IN (SELECT event_id FROM purchase))
),
change AS MATERIALIZED (
    SELECT
        customer_id, booking_id, changed_on, since_on, booked_on, coalesce(items, 0) AS items,
        coalesce(units, 0) AS units, to_reporting IS NULL AS is_rateless, round(net * to_reporting)::BIGINT AS net,
        round(margin * to_reporting)::BIGINT AS margin
    FROM sold AS s LEFT JOIN rates AS r ON r.currency = s.currency AND r.rate_on = s.rate_on
),
look AS MATERIALIZED (
    SELECT output_on AS as_of_on, coalesce((output_on - min(booked_on) + 2) // 3, 0) AS holdout_days
    FROM days LEFT JOIN change
        ON customer_id IS NOT NULL AND booked_on BETWEEN output_on - 730 AND output_on
    GROUP BY output_on
),
booked AS (
    SELECT
        as_of_on, customer_id, booking_id, holdout_days, sum(items) > 0 AS is_made,
        sum(items) > 0 AND sum(units) > 0 AS is_net, (as_of_on - min(booked_on))::BIGINT AS ago,
        bool_or(is_rateless) AS is_rateless, sum(net)::BIGINT AS net, sum(margin)::BIGINT AS margin
    FROM change JOIN look ON as_of_on BETWEEN changed_on AND since_on + 730
    WHERE customer_id IS NOT NULL
    GROUP BY as_of_on, customer_id, booking_id, holdout_days
),
purchase_day AS (
    SELECT
        as_of_on, customer_id, holdout_days, if(is_net, ago, -1) AS ago, count(*) FILTER (is_made) AS bookings,
        count(*) FILTER (is_net) AS net_bookings, if(bool_or(is_rateless), NULL, sum(net)) AS net,
        if(bool_or(is_rateless), NULL, sum(margin)) AS margin
    FROM booked GROUP BY ALL
),
customer AS (
    SELECT
        as_of_on, customer_id, holdout_days, sum(bookings)::BIGINT AS bookings, sum(net_bookings)::BIGINT AS net_bookings,
        if(bool_or(net IS NULL), NULL, sum(net))::BIGINT AS net,
        if(bool_or(margin IS NULL), NULL, sum(margin))::BIGINT AS margin,
        if(bool_or(ago >= 0 AND margin IS NULL), NULL, coalesce(sum(margin) FILTER (ago >= 0), 0))::BIGINT AS spent,
        if(
            bool_or(ago >= 0 AND ago >= holdout_days AND margin IS NULL), NULL,
            coalesce(sum(margin) FILTER (ago >= 0 AND ago >= holdout_days), 0)
        )::BIGINT AS spent_before,
        count(*) FILTER (ago >= 0) AS purchases, count(*) FILTER (ago >= 0 AND ago >= holdout_days) AS purchases_before,
        max(ago) FILTER (ago >= 0) AS first_to_now_days, min(ago) FILTER (ago >= 0) AS latest_days,
        min(ago) FILTER (ago >= 0 AND ago >= holdout_days) AS latest_before,
        arg_max_null(CASE WHEN ago >= 0 THEN margin ELSE 0 END, ago) AS first_spent
    FROM purchase_day GROUP BY ALL
)
SELECT
    as_of_on, customer_id, holdout_days, bookings, net_bookings, net, margin, purchases_before,
    if(purchases > 0, purchases - 1, NULL) AS repeat_purchases, latest_days,
    first_to_now_days - latest_days AS first_to_last_days, first_to_now_days,
    if(purchases > 0, spent - first_spent, NULL) AS repeat_margin_minor, coalesce(spent - first_spent, 0) AS repeat_margin,
    first_to_now_days - latest_before AS first_to_last_before,
    coalesce(spent_before - first_spent, 0) AS repeat_margin_before, purchases - purchases_before AS purchases_after,
    spent - spent_before AS margin_after
FROM customer
