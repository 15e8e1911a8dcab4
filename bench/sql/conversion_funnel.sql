WITH entry AS MATERIALIZED (
    SELECT
        event_on AS entered_on, product, e.channel, e.entry_id, e.visitor_id, e.customer_id, e.entered_at AS entered_at
    FROM (
        SELECT
            event_on, product,
            arg_min(
                {'channel': coalesce(channel, 'unknown'), 'entry_id': event_id, 'visitor_id': visitor_id,
                 'customer_id': customer_id, 'entered_at': occurred_at},
                (occurred_at, event_id)
            ) AS e
        FROM search WHERE event_on IN (FROM days)
        GROUP BY event_on, product, coalesce('v:' || visitor_id, 'c:' || customer_id, 'e:' || event_id)
    )
),
seen AS MATERIALIZED (
    SELECT 'v:' || visitor_id AS person, product, occurred_at AS met_at, min(event_id) AS met_id
    FROM "view" WHERE visitor_id IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'c:' || customer_id, product, occurred_at, min(event_id)
    FROM "view" WHERE customer_id IS NOT NULL GROUP BY ALL
),
viewed AS MATERIALIZED (
    SELECT
        e.* REPLACE (coalesce(e.visitor_id, v.visitor_id) AS visitor_id,
            coalesce(e.customer_id, v.customer_id) AS customer_id),
        v.occurred_at AS viewed_at
    FROM (
        SELECT entry_id, arg_min(met_id, (met_at, met_id)) AS met_id FROM (
            SELECT entry_id, met_at, met_id FROM entry AS e ASOF JOIN seen AS s
                ON s.person = 'v:' || e.visitor_id AND s.product = e.product AND s.met_at >= e.entered_at
            UNION ALL
            SELECT entry_id, met_at, met_id FROM entry AS e ASOF JOIN seen AS s
                ON s.person = 'c:' || e.customer_id AND s.product = e.product AND s.met_at >= e.entered_at
        ) GROUP BY entry_id
    ) AS m JOIN entry AS e USING (entry_id) JOIN "view" AS v ON v.event_id = m.met_id
    WHERE v.event_on - entered_on <= 30
),
sold AS MATERIALIZED (
    SELECT 'v:' || visitor_id AS person, product, occurred_at AS met_at, min(event_id) AS met_id
    FROM booking WHERE visitor_id IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'c:' || customer_id, product, occurred_at, min(event_id)
    FROM booking WHERE customer_id IS NOT NULL GROUP BY ALL
),
booked AS MATERIALIZED (
    SELECT
        e.* REPLACE (coalesce(e.visitor_id, b.visitor_id) AS visitor_id,
            coalesce(e.customer_id, b.customer_id) AS customer_id),
        b.occurred_at AS booked_at
    FROM (
        SELECT entry_id, arg_min(met_id, (met_at, met_id)) AS met_id FROM (
            SELECT entry_id, met_at, met_id FROM viewed AS e ASOF JOIN sold AS s
                ON s.person = 'v:' || e.visitor_id AND s.product = e.product AND s.met_at >= e.viewed_at
            UNION ALL
            SELECT entry_id, met_at, met_id FROM viewed AS e ASOF JOIN sold AS s
                ON s.person = 'c:' || e.customer_id AND s.product = e.product AND s.met_at >= e.viewed_at
        ) GROUP BY entry_id
    ) AS m JOIN viewed AS e USING (entry_id) JOIN booking AS b ON b.event_id = m.met_id
    WHERE b.event_on - entered_on <= 30
),
added AS MATERIALIZED (
    SELECT 'v:' || visitor_id AS person, occurred_at AS met_at, min(event_id) AS met_id
    FROM purchase WHERE visitor_id IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'c:' || customer_id, occurred_at, min(event_id) FROM purchase WHERE customer_id IS NOT NULL GROUP BY ALL
),
bought AS (
    SELECT e.*, p.occurred_at AS bought_at
    FROM (
        SELECT entry_id, arg_min(met_id, (met_at, met_id)) AS met_id FROM (
            SELECT entry_id, met_at, met_id FROM booked AS e ASOF JOIN added AS s
                ON s.person = 'v:' || e.visitor_id AND s.met_at >= e.booked_at
            UNION ALL
            SELECT entry_id, met_at, met_id FROM booked AS e ASOF JOIN added AS s
                ON s.person = 'c:' || e.customer_id AND s.met_at >= e.booked_at
        ) GROUP BY entry_id
    ) AS m JOIN booked AS e USING (entry_id) JOIN purchase AS p ON p.event_id = m.met_id
    WHERE p.event_on - entered_on <= 30
),
step AS (
    SELECT entered_on, channel, product, 1 AS step_number, 'search' AS step, entered_at, entered_at AS previous_at,
        entered_at AS met_at FROM entry
    UNION ALL
    SELECT entered_on, channel, product, 2, 'view', entered_at, entered_at, viewed_at FROM viewed
    UNION ALL
    SELECT entered_on, channel, product, 3, 'booking', entered_at, viewed_at, booked_at FROM booked
    UNION ALL
    SELECT entered_on, channel, product, 4, 'purchase', entered_at, booked_at, bought_at FROM bought
),
counted AS (
    SELECT
        entered_on, channel, product, step_number, count(*) AS reached,
        median((epoch_us(met_at) - epoch_us(previous_at)) // 1000000) AS median_seconds_from_previous,
        median((epoch_us(met_at) - epoch_us(entered_at)) // 1000000) AS median_seconds_from_entry
    FROM step GROUP BY ALL
),
grid AS (
    SELECT * FROM (SELECT entered_on, channel, product, count(*) AS entered FROM entry GROUP BY ALL),
        (VALUES (1, 'search'), (2, 'view'), (3, 'booking'), (4, 'purchase')) AS s (step_number, step)
),
mart AS (
    SELECT
        * REPLACE (coalesce(reached, 0) AS reached),
        coalesce(lag(coalesce(reached, 0)) OVER (PARTITION BY entered_on, channel, product ORDER BY step_number), entered)
            AS previous,
        coalesce(reached, 0) / nullif(previous, 0) AS step_rate, coalesce(reached, 0) / entered AS overall_rate
    FROM grid LEFT JOIN counted USING (entered_on, channel, product, step_number)
)
FROM mart
