WITH asked AS (
    SELECT
        s.event_on AS searched_on, s.occurred_at, s.event_id, s.visitor_id, s.customer_id, s.product, s.origin,
        s.destination, s.start_on, s.end_on, s.result_count,
        coalesce(s.point_of_sale, p.country, 'ZZ') AS origin_market,
        coalesce('v:' || s.visitor_id, 'c:' || s.customer_id, 'e:' || s.event_id) AS searcher
    FROM search AS s LEFT JOIN places AS p ON p.place = s.origin
),
paused AS (
    SELECT *, occurred_at > lag(occurred_at) OVER wish + INTERVAL 30 MINUTE AS is_new
    FROM asked
    WINDOW wish AS (
        PARTITION BY searched_on, searcher, product, origin_market, origin, destination, start_on, end_on
        ORDER BY occurred_at, event_id
    )
),
numbered AS (
    SELECT *, count(*) FILTER (is_new) OVER (
        PARTITION BY searched_on, searcher, product, origin_market, origin, destination, start_on, end_on
        ORDER BY occurred_at, event_id ROWS UNBOUNDED PRECEDING
    ) AS session
    FROM paused
),
wish AS (
    SELECT
        searched_on, searcher, product, origin_market, origin, destination, start_on, end_on, session,
        min(event_id) AS intent_id, min(occurred_at) AS began_at, max(visitor_id) AS visitor_id,
        max(customer_id) AS customer_id, count(*) AS searches, max(result_count) AS most_results
    FROM numbered GROUP BY ALL
),
intent AS MATERIALIZED (
    SELECT w.*, coalesce(p.city, w.destination) AS city FROM wish AS w LEFT JOIN places AS p ON p.place = w.destination
),
item AS MATERIALIZED (
    SELECT
        b.event_on AS searched_on, b.booking_id, b.visitor_id, b.customer_id, b.occurred_at, b.product, b.destination,
        coalesce(d.city, b.destination) AS city, coalesce(b.point_of_sale, o.country, 'ZZ') AS origin_market
    FROM booking AS b
    LEFT JOIN places AS d ON d.place = b.destination
    LEFT JOIN places AS o ON o.place = b.origin
),
made AS MATERIALIZED (
    SELECT
        booking_id, city, product, searched_on AS booked_on, min(occurred_at) AS booked_at,
        max(visitor_id) AS visitor_id, max(customer_id) AS customer_id
    FROM item GROUP BY ALL
),
candidate AS (
    SELECT m.booking_id, m.city, m.product, m.booked_on, m.booked_at, i.began_at, i.intent_id, i.searched_on
    FROM made AS m ASOF JOIN (FROM intent WHERE visitor_id IS NOT NULL) AS i
        ON i.visitor_id = m.visitor_id AND i.city = m.city AND i.product = m.product AND i.began_at <= m.booked_at
    UNION ALL
    SELECT m.booking_id, m.city, m.product, m.booked_on, m.booked_at, i.began_at, i.intent_id, i.searched_on
    FROM made AS m ASOF JOIN (FROM intent WHERE customer_id IS NOT NULL) AS i
        ON i.customer_id = m.customer_id AND i.city = m.city AND i.product = m.product AND i.began_at <= m.booked_at
),
matured AS (
    SELECT DISTINCT intent_id FROM (
        SELECT arg_max(intent_id, (began_at, intent_id)) AS intent_id
        FROM candidate WHERE booked_on - searched_on <= 7
        GROUP BY booking_id, city, product, booked_on
    )
),
part AS (
    SELECT
        searched_on, destination, city, product, origin_market,
        sum(searches) AS searches, count(*) AS intents, count(DISTINCT searcher) AS unique_searchers,
        count(*) FILTER (most_results = 0) AS zero_result_intents, 0 AS bookings,
        count(m.intent_id) AS matured_bookings
    FROM intent AS i LEFT JOIN matured AS m USING (intent_id) GROUP BY ALL
    UNION ALL
    SELECT
        searched_on, destination, city, product, origin_market, 0, 0, 0, 0, count(DISTINCT booking_id), 0
    FROM item GROUP BY ALL
),
mart AS (
    SELECT
        searched_on, destination, city, product, origin_market,
        sum(searches) AS searches, sum(intents) AS intents, sum(unique_searchers) AS unique_searchers,
        sum(zero_result_intents) AS zero_result_intents, sum(bookings) AS bookings,
        sum(intents) / nullif(sum(bookings), 0) AS searches_per_booking,
        sum(matured_bookings) AS matured_bookings,
        sum(intents) / nullif(sum(matured_bookings), 0) AS matured_searches_per_booking
    FROM part GROUP BY ALL
)
FROM mart
