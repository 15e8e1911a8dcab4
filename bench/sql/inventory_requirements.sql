WITH day AS (
    SELECT
        output_on AS service_on, least(output_on, last_on) AS as_of_on, output_on - 56 AS opens_on,
        output_on - least(output_on, last_on) AS remaining
    FROM days, (SELECT max(event_on) AS last_on FROM (
        SELECT event_on FROM booking UNION ALL SELECT event_on FROM inventory
        UNION ALL SELECT event_on FROM purchase UNION ALL SELECT event_on FROM cancellation))
),
used AS (
    SELECT
        resource_id, sku, start_on + night::INTEGER AS service_on, changed_on, since_on, units
    FROM (
        SELECT
            *, unnest(range(if(product IN ('hotel', 'car') AND end_on > start_on, least(end_on - start_on, 366), 1)))
                AS night
        FROM (
            SELECT
                resource_id, '' AS sku, product, start_on, end_on, event_on AS changed_on, event_on AS since_on, units
            FROM booking
            UNION ALL
            SELECT
                item_resource_id, '', item_product, item_start_on, item_end_on, greatest(event_on, item_booked_on),
                least(event_on, item_booked_on), -reversed_units
            FROM cancellation
            WHERE item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking)
        )
    )
),
change AS (
    SELECT resource_id, sku, service_on, changed_on, since_on, units FROM used
    UNION ALL
    SELECT resource_id, sku, service_on, event_on, event_on, quantity
    FROM purchase WHERE resource_id IS NOT NULL AND service_on IS NOT NULL
    UNION ALL
    SELECT
        item_resource_id, item_sku, item_start_on, greatest(event_on, item_booked_on),
        least(event_on, item_booked_on), -reversed_units
    FROM cancellation
    WHERE item_resource_id IS NOT NULL AND item_start_on IS NOT NULL
        AND item_kind = 'purchase' AND item_event_id IN (SELECT event_id FROM purchase)
    UNION ALL
    SELECT resource_id, coalesce(sku, ''), service_on, event_on, event_on, 0 FROM inventory
),
committed AS (
    SELECT service_on, resource_id, sku, as_of_on, sum(units)::BIGINT AS committed
    FROM change JOIN day USING (service_on)
    WHERE since_on >= opens_on AND changed_on <= as_of_on GROUP BY ALL
),
shelf AS (
    SELECT
        service_on, resource_id, coalesce(sku, '') AS sku, coalesce(location, '') AS location,
        arg_max(on_hand, (occurred_at, event_id)) AS on_hand
    FROM inventory JOIN day USING (service_on)
    WHERE event_on BETWEEN opens_on AND as_of_on GROUP BY ALL
),
pickup AS (
    SELECT
        d.service_on, resource_id, sku, c.service_on AS comparable_on,
        coalesce(sum(units) FILTER (c.service_on - changed_on < remaining), 0) AS pickup
    FROM change AS c JOIN day AS d ON isodow(c.service_on) = isodow(d.service_on)
    WHERE d.service_on > as_of_on AND c.service_on < as_of_on AND c.service_on - opens_on >= remaining - 1
        AND since_on >= opens_on AND changed_on <= c.service_on
    GROUP BY ALL
),
further AS (
    SELECT
        service_on, resource_id, sku, count(*) AS comparable_days, sum(pickup) / count(*) AS mean,
        if(count(*) > 1, (count(*) * sum(pickup * pickup) - sum(pickup) ** 2) / (count(*) * (count(*) - 1)), NULL)
            AS variance
    FROM pickup GROUP BY ALL
),
shared AS (
    SELECT
        *, coalesce(location, '') AS place,
        sum(weight) OVER (thing ORDER BY location) AS upto, sum(weight) OVER thing AS whole
    FROM (
        SELECT *, if(sum(on_hand) OVER thing > 0, on_hand, 1) AS weight
        FROM committed LEFT JOIN shelf USING (service_on, resource_id, sku)
            LEFT JOIN further USING (service_on, resource_id, sku)
        WINDOW thing AS (PARTITION BY service_on, resource_id, sku)
    )
    WINDOW thing AS (PARTITION BY service_on, resource_id, sku)
),
needed AS (
    SELECT
        service_on, resource_id, sku, place AS location, as_of_on, on_hand,
        (committed * upto // whole - committed * (upto - weight) // whole)::BIGINT AS committed,
        coalesce(comparable_days, 0) AS comparable_days,
        if(service_on > as_of_on, mean * (weight / whole), 0.0) AS expected_further_demand,
        round(sqrt(greatest(expected_further_demand, variance * (weight / whole) * (weight / whole), 0)), 9) AS spread
    FROM shared
),
judged AS (
    SELECT
        *, if(expected_further_demand IS NULL, NULL, spread) AS further_demand_deviation,
        committed + expected_further_demand AS demand, (on_hand + 0.5 - demand) / nullif(spread, 0) AS z,
        1 / (1 + 0.2316419 * abs(z)) AS t,
        exp(-z * z / 2) / sqrt(2 * pi()) * t * (0.319381530 + t * (-0.356563782 + t * (1.781477937
            + t * (-1.821255978 + t * 1.330274429)))) AS tail,
        ceil(round(demand + spread * 2.0537489106318225 - 0.5 - on_hand, 9)) AS needed
    FROM needed
)
SELECT
    *,
    if(on_hand IS NULL, NULL, greatest(committed - on_hand, 0)) AS backorder,
    round(if(spread > 0, if(z < 0, 1 - tail, tail), (demand >= on_hand + 0.5)::INT), 6) AS shortage_probability,
    if(on_hand IS NULL, NULL, greatest(coalesce(needed, committed - on_hand), 0)) AS order_quantity
FROM judged
