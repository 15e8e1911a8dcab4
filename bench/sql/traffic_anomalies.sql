WITH per_day AS MATERIALIZED (
    SELECT
        event_on, sum(searches) AS searches, sum(zero_results) AS zero_results, sum(bookings) AS bookings,
        if(bool_or(unrated), NULL, sum(revenue)) AS revenue
    FROM (
        SELECT event_on, count(*) AS searches, count(*) FILTER (result_count = 0) AS zero_results, 0 AS bookings,
            0 AS revenue, false AS unrated
        FROM search GROUP BY event_on
        UNION ALL
        SELECT event_on, 0, 0, count(DISTINCT booking_id), sum(round(price * to_reporting)::BIGINT),
            bool_or(to_reporting IS NULL)
        FROM booking AS b LEFT JOIN rates AS r ON r.currency = b.currency AND rate_on = event_on GROUP BY event_on
        UNION ALL
        SELECT event_on, 0, 0, 0, sum(round(price * to_reporting)::BIGINT), bool_or(to_reporting IS NULL)
        FROM purchase AS p LEFT JOIN rates AS r ON r.currency = p.currency AND rate_on = event_on GROUP BY event_on
    ) GROUP BY event_on
),
first_day AS (
    SELECT output_on, min(event_on) AS first_on
    FROM days LEFT JOIN per_day ON event_on BETWEEN output_on - 56 AND output_on GROUP BY output_on
),
look AS MATERIALIZED (
    SELECT
        output_on, back = 0 AS is_latest, coalesce(searches, 0) AS searches, coalesce(zero_results, 0) AS zero_results,
        coalesce(bookings, 0) AS bookings, if(p.event_on IS NULL, 0, revenue) AS revenue
    FROM first_day, range(9) AS weeks (back)
    LEFT JOIN per_day AS p ON p.event_on = output_on - 7 * back::INTEGER
    WHERE back = 0 OR output_on - 7 * back::INTEGER >= first_on
),
long AS MATERIALIZED (
    SELECT output_on, is_latest, 'searches' AS series, searches AS numerator, NULL AS denominator,
        searches::DOUBLE AS value FROM look
    UNION ALL SELECT output_on, is_latest, 'bookings', bookings, NULL, bookings FROM look
    UNION ALL SELECT output_on, is_latest, 'revenue', revenue, NULL, revenue FROM look
    UNION ALL SELECT output_on, is_latest, 'zero_result_rate', zero_results, searches, zero_results / searches FROM look
    UNION ALL SELECT output_on, is_latest, 'look_to_book', searches, bookings, searches / bookings FROM look
),
judged AS (
    SELECT
        output_on, series, max(numerator) FILTER (is_latest) AS numerator,
        max(denominator) FILTER (is_latest) AS denominator, max(value) FILTER (is_latest) AS value,
        count(value) FILTER (NOT is_latest) AS known_weeks, median(value) FILTER (NOT is_latest) AS median,
        mad(value) FILTER (NOT is_latest) AS mad
    FROM long GROUP BY output_on, series
),
activity AS MATERIALIZED (
    SELECT
        event_id, occurred_at, event_on,
        coalesce('v:' || visitor_id, 'c:' || customer_id, 'e:' || event_id) AS searcher
    FROM (
        SELECT event_id, occurred_at, event_on, visitor_id, customer_id FROM search
        UNION ALL SELECT event_id, occurred_at, event_on, visitor_id, customer_id FROM "view"
        UNION ALL SELECT event_id, occurred_at, event_on, visitor_id, customer_id FROM offer
        UNION ALL SELECT event_id, occurred_at, event_on, visitor_id, customer_id FROM booking
        UNION ALL SELECT event_id, occurred_at, event_on, visitor_id, customer_id FROM purchase
    )
),
paused AS (
    SELECT
        *, lag(event_on) OVER clicks AS previous_on, lag(occurred_at) OVER clicks AS previous_at,
        coalesce(occurred_at > previous_at + INTERVAL 30 MINUTE, true) AS starts
    FROM activity
    WHERE searcher IN (SELECT searcher FROM activity GROUP BY searcher, event_on HAVING count(*) >= 10)
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
        starts OR (event_on - begun_on > 1 AND event_on > previous_on) AS is_first,
        if(is_first, 0, (epoch_us(occurred_at) - epoch_us(previous_at)) // 1000) AS gap
    FROM numbered
),
session AS (
    SELECT
        started_on, searcher, max(event_id::VARCHAR) FILTER (is_first) AS session_id, count(*) AS value,
        (epoch_us(max(occurred_at)) - epoch_us(min(occurred_at))) // 1000000 AS duration_seconds,
        bool_or(is_continued) AS is_continued, count(*) FILTER (gap > 0) AS gaps, sum(gap)::DOUBLE AS total,
        sum(gap * gap)::DOUBLE AS squares
    FROM placed GROUP BY started_on, searcher, session
),
evidence AS (
    SELECT
        *, gaps + 1 AS instants, if(gaps > 0, total / gaps / 1000, NULL) AS mean_gap_seconds,
        if(gaps > 0, round(sqrt(greatest(gaps * squares / total / total - 1, 0)), 9), NULL) AS gap_variation,
        is_continued OR duration_seconds > 86400 AS is_too_long, value > 5000 AS is_too_deep,
        coalesce(instants >= 50 AND mean_gap_seconds < 3, false) AS is_too_fast,
        coalesce(instants >= 20 AND gap_variation < 0.2, false) AS is_too_regular
    FROM session
),
mart AS (
    SELECT
        output_on AS observed_on, series, '' AS session_id, numerator, denominator, value, known_weeks, median, mad,
        if(known_weeks >= 4 AND mad > 0, round((value - median) * 0.6745::DOUBLE / mad, 9), NULL) AS z,
        coalesce(abs(z) > 3.5, false) AS is_anomalous
    FROM judged
    UNION ALL BY NAME
    SELECT
        started_on AS observed_on, 'automated_session' AS series, session_id, value, true AS is_anomalous, searcher,
        duration_seconds, instants, mean_gap_seconds, gap_variation, is_too_long, is_too_deep, is_too_fast,
        is_too_regular
    FROM evidence WHERE is_too_long OR is_too_deep OR is_too_fast OR is_too_regular
)
FROM mart
