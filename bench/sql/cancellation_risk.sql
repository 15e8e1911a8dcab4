WITH horizon AS (
    SELECT max(event_on) AS last_on FROM (
        SELECT event_on FROM booking UNION ALL SELECT event_on FROM cancellation UNION ALL SELECT event_on FROM travel)
),
sold AS MATERIALIZED (
    SELECT
        event_id AS sale_id, date_trunc('week', event_on)::DATE AS booked_week_on, product, event_on AS booked_on,
        greatest(event_on, least(start_on, event_on + 740)) AS over_on,
        round(greatest(price, 0) * to_reporting)::BIGINT AS value
    FROM booking SEMI JOIN days ON output_on = date_trunc('week', event_on)::DATE
        LEFT JOIN rates ON rates.currency = booking.currency AND rate_on = event_on
),
taken AS MATERIALIZED (
    SELECT
        sale_id, booked_week_on, sold.product, reversed_units, item_units,
        least(greatest(event_on, item_booked_on), over_on) AS left_on,
        (left_on - booked_on) // 7 AS age_weeks, round(greatest(reversed_price, 0) * to_reporting)::BIGINT AS taken
    FROM cancellation JOIN sold ON sale_id = item_event_id
        LEFT JOIN rates ON rates.currency = item_currency AND rate_on = item_booked_on
    WHERE item_kind = 'booking' AND event_on - item_booked_on BETWEEN -1 AND 770 AND reversed_units > 0
),
gone AS (
    SELECT
        sale_id, sum(taken) AS taken,
        if(sum(reversed_units) >= max(item_units), max(left_on), NULL) AS gone_on
    FROM taken GROUP BY ALL
),
item AS (
    SELECT
        booked_week_on, product, value - coalesce(taken, 0) AS rest, coalesce(gone_on, over_on) AS leaves_on,
        (least(leaves_on, last_on) - booked_on) // 7 AS age_weeks,
        if(leaves_on > last_on, (last_on - booked_on + 1) // 7, NULL) AS lived,
        CASE
            WHEN gone_on IS NOT NULL THEN 'cancelled' WHEN leaves_on > last_on THEN 'still_ahead'
            WHEN missed THEN 'no_shows' ELSE 'censored'
        END AS cause
    FROM sold CROSS JOIN horizon LEFT JOIN gone USING (sale_id) LEFT JOIN (
        SELECT DISTINCT item_event_id AS sale_id, true AS missed
        FROM travel
        WHERE outcome = 'no_show' AND item_kind = 'booking' AND reversed_units > 0
            AND event_on - item_booked_on BETWEEN -1 AND 770
    ) USING (sale_id)
),
leaving AS (
    SELECT
        booked_week_on, product, age_weeks, min(lived) AS lived, sum((part IS NULL AND rest IS NULL)::INT) AS unrated,
        count(*) FILTER (cause = 'cancelled') AS cancelled, count(*) FILTER (cause = 'no_shows') AS no_shows,
        count(*) FILTER (cause = 'censored') AS censored, count(*) FILTER (cause = 'still_ahead') AS still_ahead,
        coalesce(sum(part), 0) + coalesce(sum(rest) FILTER (cause = 'cancelled'), 0) AS cancelled_minor,
        coalesce(sum(rest) FILTER (cause = 'no_shows'), 0) AS no_shows_minor,
        coalesce(sum(rest), 0) + coalesce(sum(part), 0) AS leaving_minor
    FROM (
        SELECT booked_week_on, product, age_weeks, lived, cause, rest, NULL AS part FROM item
        UNION ALL
        SELECT booked_week_on, product, age_weeks, NULL, NULL, NULL, taken FROM taken
    ) GROUP BY ALL
),
aged AS (
    SELECT
        booked_week_on, product, age_weeks, cohort.lived IS NULL OR age_weeks < cohort.lived AS is_lived,
        coalesce(cancelled, 0) AS cancelled, coalesce(no_shows, 0) AS no_shows, coalesce(censored, 0) AS censored,
        coalesce(still_ahead, 0) AS still_ahead,
        sum(cancelled + no_shows + censored + still_ahead) OVER later AS at_risk,
        if(cohort.unrated = 0, coalesce(cancelled_minor, 0), NULL) AS cancelled_minor,
        if(cohort.unrated = 0, coalesce(no_shows_minor, 0), NULL) AS no_shows_minor,
        if(cohort.unrated = 0, sum(leaving_minor) OVER later, NULL) AS at_risk_minor
    FROM (
        SELECT
            booked_week_on, product, unnest(range(max(age_weeks) + 1)) AS age_weeks, min(lived) AS lived,
            sum(unrated) AS unrated
        FROM leaving GROUP BY booked_week_on, product
    ) AS cohort LEFT JOIN leaving USING (booked_week_on, product, age_weeks)
    WINDOW later AS (PARTITION BY booked_week_on, product ORDER BY age_weeks DESC)
),
rated AS (
    SELECT
        *, cancelled / at_risk AS c, no_shows / at_risk AS n,
        if(at_risk_minor > 0, cancelled_minor / at_risk_minor, 0) AS cv,
        if(at_risk_minor > 0, no_shows_minor / at_risk_minor, 0) AS nv,
        product(1 - c - n) OVER earlier AS s, product(1 - cv - nv) OVER earlier AS sv
    FROM aged WINDOW earlier AS (PARTITION BY booked_week_on, product ORDER BY age_weeks)
),
surviving AS (
    SELECT *, lag(s, 1, 1) OVER earlier AS before, lag(sv, 1, 1) OVER earlier AS before_v
    FROM rated WINDOW earlier AS (PARTITION BY booked_week_on, product ORDER BY age_weeks)
)
SELECT
    * EXCLUDE (c, n, cv, nv, s, sv, before, before_v, is_lived), if(is_lived, round(c, 9), NULL) AS cancellation_rate,
    if(is_lived, round(n, 9), NULL) AS no_show_rate, if(is_lived, round(s, 9), NULL) AS survival,
    if(is_lived, round(sum(c * before) OVER earlier, 9), NULL) AS cancellation_incidence,
    if(is_lived, round(sum(n * before) OVER earlier, 9), NULL) AS no_show_incidence,
    if(is_lived AND at_risk_minor > 0, round(cv, 9), NULL) AS cancellation_rate_by_value,
    if(is_lived AND at_risk_minor > 0, round(nv, 9), NULL) AS no_show_rate_by_value,
    if(is_lived AND at_risk_minor > 0, round(sum(cv * before_v) OVER earlier, 9), NULL) AS cancellation_incidence_by_value,
    if(is_lived AND at_risk_minor > 0, round(sum(nv * before_v) OVER earlier, 9), NULL) AS no_show_incidence_by_value
FROM surviving WINDOW earlier AS (PARTITION BY booked_week_on, product ORDER BY age_weeks)
