WITH reversal AS (
    SELECT *, item_currency AS reversed_currency FROM cancellation
    UNION ALL BY NAME
    SELECT *, currency AS reversed_currency FROM refund
),
change AS (
    SELECT event_on AS changed_on, event_on AS since_on, currency, event_on AS rate_on, price AS net,
        price - coalesce(cost, 0) AS margin
    FROM booking WHERE customer_id IS NULL
    UNION ALL
    SELECT event_on, event_on, currency, event_on, price, price - coalesce(cost, 0)
    FROM purchase WHERE customer_id IS NULL
    UNION ALL
    SELECT
        greatest(event_on, item_booked_on), least(event_on, item_booked_on), reversed_currency, item_booked_on,
        -given_back, reversed_cost - given_back
    FROM reversal
    WHERE item_customer_id IS NULL
        AND ((item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking))
            OR (item_kind = 'purchase' AND item_event_id IN (SELECT event_id FROM purchase)))
),
by_change AS (
    SELECT
        changed_on, since_on, bool_or(to_reporting IS NULL) AS is_rateless,
        sum(round(net * to_reporting)) AS net, sum(round(margin * to_reporting)) AS margin
    FROM change AS c LEFT JOIN rates AS r ON r.currency = c.currency AND r.rate_on = c.rate_on
    GROUP BY ALL
),
unknown AS (
    SELECT
        output_on AS as_of_on, '(unknown)' AS customer_id, if(bool_or(is_rateless), NULL, sum(net)) AS net,
        if(bool_or(is_rateless), NULL, sum(margin)) AS margin
    FROM by_change JOIN days ON output_on BETWEEN changed_on AND since_on + 730
    GROUP BY output_on
),
scored AS (
    SELECT
        * EXCLUDE (holdout_days),
        if(recency IS NULL, NULL, (rank() OVER recent - 1) * 5 // count(recency) OVER day + 1) AS recency_score,
        if(frequency IS NULL, NULL, (rank() OVER often - 1) * 5 // count(frequency) OVER day + 1) AS frequency_score,
        if(monetary IS NULL, NULL, (rank() OVER much - 1) * 5 // count(monetary) OVER day + 1) AS monetary_score
    FROM (
        SELECT
            *, latest_days AS recency, if(latest_days IS NULL, NULL, net_bookings) AS frequency,
            if(latest_days IS NULL, NULL, net) AS monetary
        FROM histories
    )
    WINDOW
        day AS (PARTITION BY as_of_on),
        recent AS (PARTITION BY as_of_on ORDER BY recency DESC NULLS LAST),
        often AS (PARTITION BY as_of_on ORDER BY frequency NULLS LAST),
        much AS (PARTITION BY as_of_on ORDER BY monetary NULLS LAST)
)
SELECT
    as_of_on, customer_id, bookings, net_bookings, net AS net_minor, margin AS margin_minor,
    latest_days AS recency_days, recency_score, frequency_score, monetary_score, repeat_purchases, first_to_last_days,
    first_to_now_days, repeat_margin_minor,
    if(repeat_purchases <> 0, round(repeat_margin_minor / repeat_purchases), NULL) AS mean_repeat_margin_minor,
    alive_probability, expected_purchases, expected_purchase_margin AS expected_purchase_margin_minor,
    round(expected_purchases * expected_purchase_margin) AS expected_margin_minor, holdout_days, holdout_purchases,
    holdout_expected_purchases, holdout_mean_absolute_error, holdout_margin_minor, holdout_expected_margin_minor
FROM (FROM scored UNION ALL BY NAME FROM unknown)
LEFT JOIN forecasts USING (as_of_on, repeat_purchases, first_to_last_days, first_to_now_days, repeat_margin)
LEFT JOIN holdouts USING (as_of_on)
