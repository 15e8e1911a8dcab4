WITH part AS (
    SELECT
        event_on AS booked_on, 'product' AS line, product, b.currency, coalesce(point_of_sale, 'ZZ') AS point_of_sale,
        bool_and(to_reporting IS NOT NULL) AS rated,
        count(DISTINCT booking_id) AS bookings,
        count(*) AS items,
        sum(units) AS units,
        sum(coalesce(adults, 0) + coalesce(children, 0) + coalesce(infants, 0)) AS passengers,
        sum(start_on - event_on) AS lead_time_days,
        sum(end_on - start_on) FILTER (product = 'hotel') AS nights,
        sum(round(price / nullif((end_on - start_on) * units, 0))::BIGINT) FILTER (product = 'hotel')
            AS price_per_night_minor,
        sum(price) AS gross_before_cancellations_minor,
        sum(cost) AS cost_minor,
        sum(commission) AS commission_minor,
        sum(fee) AS fee_minor,
        sum(round(price * to_reporting)::BIGINT) AS gross_reporting_minor,
        sum(round(price * to_reporting)::BIGINT) AS net_reporting_minor,
        sum(round((price - coalesce(cost, 0)) * to_reporting)::BIGINT) AS margin_reporting_minor
    FROM booking AS b LEFT JOIN rates AS r ON r.currency = b.currency AND rate_on = event_on
    GROUP BY ALL
    UNION ALL BY NAME
    SELECT
        event_on AS booked_on, 'ancillary' AS line, category AS product, p.currency,
        coalesce(point_of_sale, 'ZZ') AS point_of_sale,
        bool_and(to_reporting IS NOT NULL) AS rated,
        count(DISTINCT booking_id) AS bookings,
        count(*) AS items,
        sum(quantity) AS units,
        sum(price) AS gross_before_cancellations_minor,
        sum(cost) AS cost_minor,
        sum(round(price * to_reporting)::BIGINT) AS gross_reporting_minor,
        sum(round(price * to_reporting)::BIGINT) AS net_reporting_minor,
        sum(round((price - coalesce(cost, 0)) * to_reporting)::BIGINT) AS margin_reporting_minor
    FROM purchase AS p LEFT JOIN rates AS r ON r.currency = p.currency AND rate_on = event_on
    GROUP BY ALL
    UNION ALL BY NAME
    SELECT
        event_on AS booked_on, if(item_kind = 'purchase', 'ancillary', 'product') AS line,
        coalesce(item_product, 'unknown') AS product, coalesce(item_currency, c.currency, 'XXX') AS currency,
        coalesce(if(item_kind IS NULL, point_of_sale, item_point_of_sale), 'ZZ') AS point_of_sale,
        bool_and(to_reporting IS NOT NULL) AS rated,
        sum(given_back) AS cancellations_minor,
        sum(kept_penalty) AS penalties_minor,
        -sum(reversed_cost) AS cost_minor,
        -sum(reversed_commission) AS commission_minor,
        -sum(reversed_fee) AS fee_minor,
        count(*) FILTER (reversed_units > 0 OR item_kind IS NULL) AS cancelled_items,
        sum(reversed_units) AS cancelled_units,
        -sum(round(given_back * to_reporting)::BIGINT) AS net_reporting_minor,
        -sum(round((given_back - reversed_cost) * to_reporting)::BIGINT) AS margin_reporting_minor
    FROM cancellation AS c LEFT JOIN rates AS r
        ON r.currency = coalesce(item_currency, c.currency) AND rate_on = coalesce(item_booked_on, event_on)
    GROUP BY ALL
    UNION ALL BY NAME
    SELECT
        event_on AS booked_on, if(item_kind = 'purchase', 'ancillary', 'product') AS line,
        coalesce(item_product, 'unknown') AS product, f.currency,
        coalesce(if(item_kind IS NULL, point_of_sale, item_point_of_sale), 'ZZ') AS point_of_sale,
        bool_and(to_reporting IS NOT NULL) AS rated,
        sum(given_back) AS refunds_minor,
        sum(reversed_price) AS refunded_minor,
        -sum(round(given_back * to_reporting)::BIGINT) AS net_reporting_minor,
        -sum(round(given_back * to_reporting)::BIGINT) AS margin_reporting_minor
    FROM refund AS f LEFT JOIN rates AS r
        ON r.currency = f.currency AND rate_on = coalesce(item_booked_on, event_on)
    GROUP BY ALL
    UNION ALL BY NAME
    SELECT
        event_on AS booked_on, if(item_kind = 'purchase', 'ancillary', 'product') AS line,
        coalesce(item_product, 'unknown') AS product, coalesce(item_currency, 'XXX') AS currency,
        coalesce(if(item_kind IS NULL, point_of_sale, item_point_of_sale), 'ZZ') AS point_of_sale,
        bool_and(to_reporting IS NOT NULL) AS rated,
        count(*) FILTER (outcome = 'completed' AND (reversed_units > 0 OR item_kind IS NULL)) AS completed_items,
        sum(reversed_price) FILTER (outcome = 'completed') AS completed_minor,
        count(*) FILTER (outcome <> 'completed' AND (reversed_units > 0 OR item_kind IS NULL)) AS no_show_items
    FROM travel AS t LEFT JOIN rates AS r
        ON r.currency = item_currency AND rate_on = coalesce(item_booked_on, event_on)
    GROUP BY ALL
),
mart AS (
    SELECT
        booked_on, line, product, currency, point_of_sale,
        coalesce(sum(bookings), 0) AS bookings,
        coalesce(sum(items), 0) AS items,
        coalesce(sum(units), 0) AS units,
        coalesce(sum(passengers), 0) AS passengers,
        coalesce(sum(lead_time_days), 0) AS lead_time_days,
        coalesce(sum(nights), 0) AS nights,
        coalesce(sum(price_per_night_minor), 0) AS price_per_night_minor,
        coalesce(sum(gross_before_cancellations_minor), 0) AS gross_before_cancellations_minor,
        coalesce(sum(cancellations_minor), 0) AS cancellations_minor,
        coalesce(sum(refunds_minor), 0) AS refunds_minor,
        coalesce(sum(penalties_minor), 0) AS penalties_minor,
        coalesce(sum(refunded_minor), 0) AS refunded_minor,
        coalesce(sum(cost_minor), 0) AS cost_minor,
        coalesce(sum(commission_minor), 0) AS commission_minor,
        coalesce(sum(fee_minor), 0) AS fee_minor,
        coalesce(sum(cancelled_items), 0) AS cancelled_items,
        coalesce(sum(cancelled_units), 0) AS cancelled_units,
        coalesce(sum(completed_items), 0) AS completed_items,
        coalesce(sum(completed_minor), 0) AS completed_minor,
        coalesce(sum(no_show_items), 0) AS no_show_items,
        if(bool_and(rated), coalesce(sum(gross_reporting_minor), 0), NULL) AS gross_reporting_minor,
        if(bool_and(rated), coalesce(sum(net_reporting_minor), 0), NULL) AS net_reporting_minor,
        if(bool_and(rated), coalesce(sum(margin_reporting_minor), 0), NULL) AS margin_reporting_minor
    FROM part GROUP BY ALL
)
SELECT
    *,
    gross_before_cancellations_minor - cancellations_minor - refunds_minor AS net_minor,
    gross_before_cancellations_minor - cancellations_minor - refunds_minor - cost_minor AS margin_minor
FROM mart
