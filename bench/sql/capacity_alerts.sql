WITH look AS MATERIALIZED (
    SELECT DISTINCT output_on - back::INTEGER AS as_of_on FROM days, range(8) AS t(back)
),
sold AS MATERIALIZED (
    SELECT
        resource_id, product, start_on + night::INTEGER AS service_on, changed_on, since_on, sum(units)::BIGINT AS units
    FROM (
        SELECT
            *, unnest(range(if(product IN ('hotel', 'car') AND end_on > start_on, least(end_on - start_on, 366), 1)))
                AS night
        FROM (
            SELECT
                resource_id, product, start_on, end_on, event_on AS changed_on, event_on AS since_on, units
            FROM booking
            UNION ALL
            SELECT
                item_resource_id, item_product, item_start_on, item_end_on, greatest(event_on, item_booked_on),
                least(event_on, item_booked_on), -reversed_units
            FROM cancellation
            WHERE item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking)
        )
    ) GROUP BY ALL
),
seat AS (
    SELECT
        *, if(on_hand > 0 AND on_hand < capacity, on_hand, NULL) AS allotted, least(
            lead(event_on) OVER (
                PARTITION BY resource_id, service_on, coalesce(location, '') ORDER BY occurred_at, event_id
            ) - 1,
            event_on + 49, service_on
        ) AS until_on
    FROM inventory WHERE sku IS NULL
),
departure AS MATERIALIZED (
    SELECT
        as_of_on, resource_id, service_on, product, service_on - as_of_on AS days_out, capacity, capacity_basis,
        coalesce(on_the_books, 0) AS on_the_books
    FROM (
        SELECT
            as_of_on, resource_id, service_on, arg_max(product, (occurred_at, event_id)) AS product,
            sum(coalesce(allotted, capacity))::BIGINT AS capacity,
            if(count(allotted) > 0, 'own allotment', 'supplied capacity') AS capacity_basis
        FROM seat JOIN look ON as_of_on BETWEEN event_on AND until_on GROUP BY ALL
    )
    LEFT JOIN (
        SELECT as_of_on, resource_id, service_on, sum(units)::BIGINT AS on_the_books
        FROM sold JOIN look ON as_of_on BETWEEN changed_on AND least(since_on + 49, service_on)
        GROUP BY ALL
    ) USING (as_of_on, resource_id, service_on)
),
sale AS MATERIALIZED (
    SELECT as_of_on, resource_id, product, service_on, service_on - changed_on AS far, sum(units)::BIGINT AS units
    FROM sold JOIN look ON as_of_on > service_on AND as_of_on <= since_on + 49
    WHERE changed_on <= service_on GROUP BY ALL
),
over AS MATERIALIZED (
    SELECT as_of_on, resource_id, product, service_on, service_on - as_of_on + 49 AS reach
    FROM (
        SELECT resource_id, product, service_on, max(since_on) AS since_on FROM (
            SELECT resource_id, product, service_on, since_on FROM sold
            UNION ALL SELECT resource_id, product, service_on, event_on FROM inventory WHERE sku IS NULL
        ) WHERE since_on <= service_on GROUP BY ALL
    ) JOIN look ON as_of_on > service_on AND as_of_on <= since_on + 49
    WHERE reach >= 0
),
step AS (
    SELECT
        *, sum(leaving) OVER (PARTITION BY as_of_on, resource_id, product)
            - sum(leaving) OVER (PARTITION BY as_of_on, resource_id, product ORDER BY far, turn ROWS UNBOUNDED PRECEDING)
            AS n
    FROM (
        SELECT
            as_of_on, resource_id, NULL AS product, far, 0 AS turn, sum(units) AS units, sum(units * units) AS squares,
            0 AS leaving
        FROM (
            SELECT as_of_on, resource_id, service_on, far, sum(units)::BIGINT AS units FROM sale GROUP BY ALL
        ) GROUP BY ALL
        UNION ALL
        SELECT as_of_on, NULL, product, far, 0, sum(units), sum(units * units), 0 FROM sale GROUP BY ALL
        UNION ALL
        SELECT DISTINCT as_of_on, resource_id, NULL, days_out - 1, 1, 0, 0, 0 FROM departure
        UNION ALL
        SELECT DISTINCT as_of_on, NULL, product, days_out - 1, 1, 0, 0, 0 FROM departure
        UNION ALL
        SELECT as_of_on, resource_id, NULL, reach, 2, 0, 0, count(DISTINCT service_on) FROM over GROUP BY ALL
        UNION ALL
        SELECT as_of_on, NULL, product, reach, 2, 0, 0, count(*) FROM over GROUP BY ALL
    )
),
pickup AS (
    SELECT
        as_of_on, resource_id, product, far + 1 AS days_out, turn, n,
        round(sum(if(n > 0, units / n, 0.0)) OVER upto, 9) AS mean,
        round(sum(if(n > 1, (n * squares - units * units) / (n * (n - 1)), 0.0)) OVER upto, 9) AS variance
    FROM step
    WINDOW upto AS (PARTITION BY as_of_on, resource_id, product ORDER BY far, turn ROWS UNBOUNDED PRECEDING)
    QUALIFY turn = 1
),
expected AS (
    SELECT
        d.*, CASE WHEN own.n >= 3 THEN own.n ELSE coalesce(kin.n, 0) END AS comparables,
        if(own.n >= 3, own.variance, kin.variance) AS variance,
        CASE
            WHEN d.days_out = 0 THEN 0.0 WHEN own.n >= 3 THEN own.mean WHEN kin.n > 0 THEN kin.mean
        END AS expected_pickup
    FROM departure AS d
    LEFT JOIN (FROM pickup WHERE resource_id IS NOT NULL) AS own
        ON own.as_of_on = d.as_of_on AND own.resource_id = d.resource_id AND own.days_out = d.days_out
    LEFT JOIN (FROM pickup WHERE product IS NOT NULL) AS kin
        ON kin.as_of_on = d.as_of_on AND kin.product = d.product AND kin.days_out = d.days_out
),
demand AS (
    SELECT
        *, round(on_the_books + expected_pickup, 9) AS demand_mean,
        round(CASE
            WHEN expected_pickup IS NULL THEN NULL
            WHEN comparables >= 3 OR days_out = 0 THEN sqrt(greatest(expected_pickup, variance, 0.0))
            ELSE greatest(demand_mean * 0.3, 0.0)
        END, 9) AS demand_deviation
    FROM expected
),
state AS MATERIALIZED (
    SELECT
        *, if(capacity > 0, on_the_books / capacity, NULL) AS load_factor,
        if(demand_mean > 0, round(demand_deviation / demand_mean, 9), NULL) AS demand_k,
        (capacity - demand_mean) / nullif(demand_deviation, 0) AS z, 1 / (abs(z) * 0.2316419 + 1) AS t,
        exp(z * z * -0.5) / sqrt(2 * pi()) AS density,
        density * ((((t * 1.330274429 - 1.821255978) * t + 1.781477937) * t - 0.356563782) * t + 0.319381530) * t AS tail,
        CASE
            WHEN capacity = 0 OR demand_mean IS NULL THEN NULL WHEN z IS NULL THEN (demand_mean >= capacity)::INT
            WHEN z < 0 THEN round(1 - tail, 6) ELSE round(tail, 6)
        END AS full_probability,
        CASE
            WHEN capacity = 0 THEN NULL WHEN z IS NULL THEN demand_mean - least(demand_mean, capacity)
            ELSE round(demand_deviation * density - (capacity - demand_mean) * if(z < 0, 1 - tail, tail), 6)
        END AS expected_spill,
        CASE
            WHEN full_probability >= 0.95 OR load_factor >= 1 THEN 3 WHEN full_probability >= 0.8 THEN 2
            WHEN full_probability >= 0.5 THEN 1 ELSE 0
        END AS raised,
        CASE
            WHEN full_probability >= 0.9 OR load_factor >= 1 THEN 3
            WHEN full_probability IS NULL AND capacity > 0 THEN 3 WHEN full_probability >= 0.7 THEN 2
            WHEN full_probability >= 0.4 THEN 1 ELSE 0
        END AS kept
    FROM demand
),
alert AS (
    SELECT
        output_on AS as_of_on, resource_id, service_on,
        max(as_of_on) FILTER (raised >= 1) AS raised_1, max(as_of_on) FILTER (kept < 1) AS dropped_1,
        max(as_of_on) FILTER (raised >= 2) AS raised_2, max(as_of_on) FILTER (kept < 2) AS dropped_2,
        max(as_of_on) FILTER (raised >= 3) AS raised_3, max(as_of_on) FILTER (kept < 3) AS dropped_3,
        max(as_of_on) FILTER (raised >= 1 AND as_of_on < output_on) AS before_1,
        max(as_of_on) FILTER (kept < 1 AND as_of_on < output_on) AS ended_1,
        max(as_of_on) FILTER (raised >= 2 AND as_of_on < output_on) AS before_2,
        max(as_of_on) FILTER (kept < 2 AND as_of_on < output_on) AS ended_2,
        max(as_of_on) FILTER (raised >= 3 AND as_of_on < output_on) AS before_3,
        max(as_of_on) FILTER (kept < 3 AND as_of_on < output_on) AS ended_3
    FROM state JOIN days ON as_of_on BETWEEN output_on - 7 AND output_on
    GROUP BY ALL
)
SELECT
    s.*,
    CASE
        WHEN raised_3 > coalesce(dropped_3, '-infinity') THEN 'full'
        WHEN raised_2 > coalesce(dropped_2, '-infinity') THEN 'high'
        WHEN raised_1 > coalesce(dropped_1, '-infinity') THEN 'watch' ELSE 'none'
    END AS alert_level,
    CASE
        WHEN before_3 > coalesce(ended_3, '-infinity') THEN 'full'
        WHEN before_2 > coalesce(ended_2, '-infinity') THEN 'high'
        WHEN before_1 > coalesce(ended_1, '-infinity') THEN 'watch' ELSE 'none'
    END AS previous_level
FROM state AS s JOIN alert USING (as_of_on, resource_id, service_on)
