WITH taken AS (
    SELECT item_customer_id AS customer_id, booking_id, sum(reversed_units) AS units
    FROM cancellation
    WHERE item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking)
    GROUP BY ALL
),
made AS MATERIALIZED (
    SELECT
        customer_id, booking_id, date_trunc('month', booked_on)::DATE AS month_on,
        b.units > coalesce(t.units, 0) AS is_net,
        if(
            customer_id IS NULL, date_trunc('month', booked_on),
            date_trunc('month', min(booked_on) OVER (PARTITION BY customer_id))
        )::DATE AS cohort_on
    FROM (
        SELECT customer_id, booking_id, min(event_on) AS booked_on, sum(units) AS units FROM booking GROUP BY ALL
    ) AS b
    LEFT JOIN taken AS t USING (booking_id, customer_id)
),
sizes AS (
    SELECT
        cohort_on, count(DISTINCT customer_id) AS cohort_size,
        count(*) FILTER (customer_id IS NULL) AS unknown_bookings
    FROM made GROUP BY ALL
),
active AS (
    SELECT cohort_on, customer_id, month_on, max(month_on) OVER (PARTITION BY customer_id) AS last_on
    FROM (SELECT DISTINCT cohort_on, customer_id, month_on FROM made WHERE is_net AND customer_id IS NOT NULL)
),
counts AS (
    SELECT cohort_on, month_on, count(*) AS returned, count(*) FILTER (month_on = last_on) AS last_seen
    FROM active GROUP BY ALL
),
horizon AS (
    SELECT greatest((SELECT max(event_on) FROM booking), (SELECT max(event_on) FROM cancellation)) AS last_on
),
cells AS (
    SELECT m.cohort_on, month_on::DATE AS month_on, last_day(month_on) < last_on AS is_over
    FROM (SELECT DISTINCT month_on AS cohort_on FROM made) AS m, horizon,
        generate_series(m.cohort_on, last_on, INTERVAL 1 MONTH) AS g (month_on)
)
SELECT
    *, returned / cohort_size AS returned_rate, returned_or_later / cohort_size AS returned_or_later_rate
FROM (
    SELECT
        cohort_on,
        datediff('month', cohort_on, month_on) AS months_since,
        coalesce(cohort_size, 0) AS cohort_size,
        if(cohort_on = month_on, coalesce(cohort_size, 0), 0) AS first_bookings,
        if(cohort_on = month_on, coalesce(unknown_bookings, 0), 0) AS unknown_bookings,
        if(is_over, coalesce(returned, 0), NULL) AS returned,
        if(
            is_over, coalesce(sum(last_seen) OVER (PARTITION BY cohort_on ORDER BY month_on DESC), 0), NULL
        ) AS returned_or_later
    FROM cells LEFT JOIN sizes USING (cohort_on) LEFT JOIN counts USING (cohort_on, month_on)
)
