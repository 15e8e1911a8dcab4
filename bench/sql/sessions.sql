WITH activity AS (
    SELECT
        event_id, 'search' AS event_type, occurred_at, event_on, visitor_id, customer_id, channel, campaign_source,
        campaign_medium, campaign_name, point_of_sale, NULL AS booking_id, 0 AS spend
    FROM search
    UNION ALL BY NAME
    SELECT
        event_id, 'view' AS event_type, occurred_at, event_on, visitor_id, customer_id, channel, campaign_source,
        campaign_medium, campaign_name, point_of_sale, 0 AS spend
    FROM "view"
    UNION ALL BY NAME
    SELECT
        event_id, 'offer' AS event_type, occurred_at, event_on, visitor_id, customer_id, channel, campaign_source,
        campaign_medium, campaign_name, point_of_sale, 0 AS spend
    FROM offer
    UNION ALL BY NAME
    SELECT
        event_id, 'booking' AS event_type, occurred_at, event_on, visitor_id, customer_id, channel, campaign_source,
        campaign_medium, campaign_name, point_of_sale, booking_id, round(price * to_reporting)::BIGINT AS spend
    FROM booking AS b LEFT JOIN rates AS r ON r.currency = b.currency AND rate_on = event_on
    UNION ALL BY NAME
    SELECT
        event_id, 'purchase' AS event_type, occurred_at, event_on, visitor_id, customer_id, channel, campaign_source,
        campaign_medium, campaign_name, point_of_sale, round(price * to_reporting)::BIGINT AS spend
    FROM purchase AS p LEFT JOIN rates AS r ON r.currency = p.currency AND rate_on = event_on
),
paused AS (
    SELECT
        *, lag(event_on) OVER clicks AS previous_on,
        coalesce(occurred_at > lag(occurred_at) OVER clicks + INTERVAL 30 MINUTE, true) AS starts
    FROM (SELECT *, coalesce('v:' || visitor_id, 'c:' || customer_id, 'e:' || event_id) AS searcher FROM activity)
    WINDOW clicks AS (PARTITION BY searcher ORDER BY occurred_at, event_id)
),
numbered AS (
    SELECT
        *, count(*) FILTER (starts) OVER clicks AS session, max(event_on) FILTER (starts) OVER clicks AS begun_on
    FROM paused
    WINDOW clicks AS (PARTITION BY searcher ORDER BY occurred_at, event_id ROWS UNBOUNDED PRECEDING)
),
placed AS (
    SELECT
        *, event_on - begun_on > 1 AS is_continued, if(event_on - begun_on > 1, event_on, begun_on) AS started_on,
        starts OR (event_on - begun_on > 1 AND event_on > previous_on) AS is_first
    FROM numbered
),
session AS (
    SELECT
        started_on, searcher,
        max(event_id::VARCHAR) FILTER (is_first) AS session_id, max(customer_id) AS customer_id,
        max(channel) FILTER (is_first) AS channel, max(campaign_source) FILTER (is_first) AS campaign_source,
        max(campaign_medium) FILTER (is_first) AS campaign_medium, max(campaign_name) FILTER (is_first) AS campaign_name,
        max(point_of_sale) FILTER (is_first) AS point_of_sale, max(event_type) FILTER (is_first) AS first_event_type,
        min(occurred_at) AS started_at, max(occurred_at) AS ended_at, count(*) AS events,
        count(*) FILTER (event_on > started_on) AS events_after_midnight,
        count(*) FILTER (event_type = 'search') AS searches, count(*) FILTER (event_type = 'view') AS views,
        count(*) FILTER (event_type = 'offer') AS offers, count(*) FILTER (event_type = 'booking') AS items,
        count(DISTINCT booking_id) AS bookings, count(*) FILTER (event_type = 'purchase') AS purchases,
        if(bool_or(spend IS NULL), NULL, sum(spend)) AS spend_minor, bool_or(is_continued) AS is_continued
    FROM placed GROUP BY started_on, searcher, session
),
mart AS (
    SELECT
        *, (epoch_us(ended_at) - epoch_us(started_at)) // 1000000 AS duration_seconds, events = 1 AS is_bounce,
        duration_seconds > 86400 OR events > 5000 OR is_continued AS is_automated
    FROM session
)
FROM mart
