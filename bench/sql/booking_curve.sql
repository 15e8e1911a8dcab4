WITH horizon AS (
    SELECT max(event_on) AS last_on FROM (SELECT event_on FROM booking UNION ALL SELECT event_on FROM cancellation)
),
change AS (
    SELECT
        start_on AS service_on, product, coalesce(point_of_sale, 'ZZ') AS market,
        start_on - event_on AS since, start_on - event_on AS out, units
    FROM booking
    UNION ALL
    SELECT
        item_start_on, item_product, coalesce(item_point_of_sale, 'ZZ'),
        item_start_on - least(event_on, item_booked_on), item_start_on - greatest(event_on, item_booked_on),
        -reversed_units
    FROM cancellation
    WHERE item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking)
),
sold AS (
    SELECT service_on, product, market, greatest(out, 0) AS out, sum(units) AS units
    FROM change WHERE since <= 740 AND out >= -7 GROUP BY ALL
),
point AS (
    SELECT unnest([0, 1, 3, 5, 7, 14, 21, 28, 42, 56, 84, 112, 140, 182, 273, 364]) AS days_out
),
book AS MATERIALIZED (
    SELECT
        service_on, product, market, days_out, sum(units)::BIGINT AS final_units,
        coalesce(sum(units) FILTER (out >= days_out), 0)::BIGINT AS on_the_books
    FROM sold, point GROUP BY ALL
),
expected AS (
    SELECT
        product, market, days_out, service_on + ((days_out + 7) // 7 * 7 + 7 + 7 * week)::INTEGER AS service_on,
        count(*) AS comparables, if(count(*) >= 3, sum(final_units - on_the_books) / count(*), NULL) AS expected_pickup
    FROM book, range(8) AS weeks(week) GROUP BY ALL
),
last_year AS (
    SELECT
        service_on + 364 AS service_on, product, market, days_out, on_the_books AS last_year_on_the_books,
        final_units AS last_year_final_units
    FROM book
)
SELECT
    service_on, product, market, days_out, on_the_books,
    if(service_on <= last_on, book.final_units, NULL) AS final_units,
    if(service_on <= last_on, book.final_units - on_the_books, NULL) AS pickup_units,
    if(service_on <= last_on, on_the_books / nullif(book.final_units, 0), NULL) AS share_of_final,
    last_year_on_the_books, last_year_final_units, coalesce(comparables, 0) AS comparables, expected_pickup,
    on_the_books + expected_pickup AS forecast_units
FROM book SEMI JOIN days ON output_on = service_on CROSS JOIN horizon
    LEFT JOIN last_year USING (service_on, product, market, days_out)
    LEFT JOIN expected USING (service_on, product, market, days_out)
WHERE service_on - days_out <= last_on
