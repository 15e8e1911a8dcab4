WITH change AS MATERIALIZED (
    SELECT
        booking_id, if(rate_on BETWEEN booked_on - 740 AND booked_on, rate_on, NULL) AS sold_on, booked_on, currency,
        sum(amount)::BIGINT AS amount, max(bookings) AS bookings,
        if(count(*) = count(to_reporting), sum(round(amount * to_reporting)::BIGINT), NULL)::BIGINT AS reporting
    FROM (
        SELECT booking_id, currency, event_on AS rate_on, event_on AS booked_on, price AS amount, 1 AS bookings
        FROM booking
        UNION ALL
        SELECT booking_id, item_currency, item_booked_on, event_on, -given_back, 0
        FROM cancellation WHERE item_kind = 'booking'
        UNION ALL
        SELECT booking_id, item_currency, item_booked_on, event_on, -given_back, 0
        FROM refund WHERE item_kind = 'booking'
    ) SEMI JOIN days ON output_on = booked_on LEFT JOIN rates USING (currency, rate_on)
    GROUP BY ALL
),
sale AS MATERIALIZED (
    SELECT
        booking_id, event_on AS sold_on, min(occurred_at) AS sold_at, max(visitor_id) AS visitor,
        max(customer_id) AS customer
    FROM booking SEMI JOIN change ON change.booking_id = booking.booking_id AND change.sold_on = booking.event_on
    GROUP BY ALL
),
touch AS MATERIALIZED (
    SELECT
        visitor_id, customer_id, event_on, occurred_at, coalesce(channel, '(unknown)') AS channel,
        coalesce(campaign_source, '') AS source, coalesce(campaign_medium, '') AS medium,
        coalesce(campaign_name, '') AS name
    FROM (
        SELECT visitor_id, customer_id, event_on, occurred_at, channel, campaign_source, campaign_medium, campaign_name
        FROM search
        UNION ALL
        SELECT visitor_id, customer_id, event_on, occurred_at, channel, campaign_source, campaign_medium, campaign_name
        FROM view
        UNION ALL
        SELECT visitor_id, customer_id, event_on, occurred_at, channel, campaign_source, campaign_medium, campaign_name
        FROM offer
    ) WHERE visitor_id IN (SELECT visitor FROM sale) OR customer_id IN (SELECT customer FROM sale)
),
by_day AS MATERIALIZED (
    SELECT
        visitor_id, customer_id, event_on, channel, source, medium, name, count(*) AS touches,
        min(occurred_at) AS first_at, max(occurred_at) AS last_at
    FROM touch GROUP BY ALL
),
touched AS (
    SELECT
        booking_id, sold_on, channel, source, medium, name, sum(touches)::BIGINT AS touches, min(first_at) AS first_at,
        max(last_at) AS last_at
    FROM (
        SELECT booking_id, sold_on, channel, source, medium, name, touches, first_at, last_at
        FROM sale JOIN by_day ON visitor_id = visitor
        WHERE event_on < sold_on AND event_on >= sold_on - 30
        UNION ALL
        SELECT booking_id, sold_on, channel, source, medium, name, touches, first_at, last_at
        FROM sale JOIN by_day ON customer_id = customer
        WHERE event_on < sold_on AND event_on >= sold_on - 30 AND (visitor_id = visitor) IS NOT TRUE
        UNION ALL
        SELECT booking_id, sold_on, channel, source, medium, name, 1, occurred_at, occurred_at
        FROM sale JOIN touch ON visitor_id = visitor AND event_on = sold_on
        WHERE occurred_at <= sold_at
        UNION ALL
        SELECT booking_id, sold_on, channel, source, medium, name, 1, occurred_at, occurred_at
        FROM sale JOIN touch ON customer_id = customer AND event_on = sold_on
        WHERE occurred_at <= sold_at AND (visitor_id = visitor) IS NOT TRUE
    ) GROUP BY ALL
),
weighed AS (
    SELECT
        *, (row_number() OVER by_first = 1)::INT AS f,
        (row_number() OVER (sale ORDER BY last_at DESC, channel DESC, source DESC, medium DESC, name DESC) = 1)::INT AS l,
        (sum(touches) OVER sale)::BIGINT AS n,
        if(n > 2, (f + l) * 2 * (n - 2) + touches - f - l, f + l) AS p
    FROM touched
    WINDOW sale AS (PARTITION BY booking_id, sold_on),
        by_first AS (PARTITION BY booking_id, sold_on ORDER BY first_at, channel, source, medium, name)
),
part AS (
    SELECT
        *, (sum(f) OVER upto)::BIGINT AS f_to, (sum(l) OVER upto)::BIGINT AS l_to, (sum(touches) OVER upto)::BIGINT AS n_to,
        (sum(p) OVER upto)::BIGINT AS p_to, if(n > 2, 5 * (n - 2), 2) AS p_all
    FROM weighed
    WINDOW upto AS (PARTITION BY booking_id, sold_on ORDER BY first_at, channel, source, medium, name
                    ROWS UNBOUNDED PRECEDING)
),
credit AS (
    SELECT
        booked_on, coalesce(channel, '(none)') AS channel, coalesce(source, '') AS source,
        coalesce(medium, '') AS medium, coalesce(name, '') AS name, currency, bookings, amount, reporting,
        coalesce(touches, 0) * bookings AS touches,
        coalesce(f, 1) AS f, coalesce(f_to, 1) AS f_to, coalesce(l, 1) AS l, coalesce(l_to, 1) AS l_to,
        if(n IS NULL, 1, part.touches) AS t, coalesce(n_to, 1) AS t_to, coalesce(n, 1) AS t_all,
        coalesce(p, 1) AS p, coalesce(p_to, 1) AS p_to, coalesce(p_all, 1) AS p_all
    FROM change LEFT JOIN part USING (booking_id, sold_on)
)
SELECT
    booked_on, channel, source AS campaign_source, medium AS campaign_medium, name AS campaign_name, currency,
    sum(touches) AS touches,
    sum(f * bookings)::DOUBLE AS first_touch_bookings, sum(l * bookings)::DOUBLE AS last_touch_bookings,
    sum(1000000 * bookings * t_to // t_all - 1000000 * bookings * (t_to - t) // t_all) / 1000000 AS linear_bookings,
    sum(1000000 * bookings * p_to // p_all - 1000000 * bookings * (p_to - p) // p_all) / 1000000
        AS position_based_bookings,
    sum(f * amount) AS first_touch_minor, sum(l * amount) AS last_touch_minor,
    sum(amount * t_to // t_all - amount * (t_to - t) // t_all) AS linear_minor,
    sum(amount * p_to // p_all - amount * (p_to - p) // p_all) AS position_based_minor,
    if(count(*) = count(reporting), sum(f * reporting), NULL) AS first_touch_reporting_minor,
    if(count(*) = count(reporting), sum(l * reporting), NULL) AS last_touch_reporting_minor,
    if(count(*) = count(reporting), sum(reporting * t_to // t_all - reporting * (t_to - t) // t_all), NULL)
        AS linear_reporting_minor,
    if(count(*) = count(reporting), sum(reporting * p_to // p_all - reporting * (p_to - p) // p_all), NULL)
        AS position_based_reporting_minor
FROM credit GROUP BY ALL
