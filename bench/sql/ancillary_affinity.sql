WITH item_sold AS (
    SELECT month AS service_month, product, booking_id, item_id, sale_id, sum(passengers)::BIGINT AS passengers
    FROM (
        SELECT
            date_trunc('month', start_on)::DATE AS month, product, booking_id, item_id, event_id AS sale_id,
            event_on AS changed_on, event_on AS since_on, units,
            if(coalesce(adults, children, infants) IS NULL, units,
               coalesce(adults, 0) + coalesce(children, 0) + coalesce(infants, 0)) AS passengers
        FROM booking
        UNION ALL
        SELECT
            date_trunc('month', item_start_on)::DATE, item_product, booking_id, item_key, item_event_id,
            greatest(event_on, item_booked_on), least(event_on, item_booked_on), -reversed_units, 0
        FROM cancellation
        WHERE item_kind = 'booking' AND item_event_id IN (SELECT event_id FROM booking)
    ) SEMI JOIN days ON output_on = month
    WHERE since_on >= month - 740 AND changed_on <= month + INTERVAL 1 MONTH
    GROUP BY ALL HAVING sum(units) > 0
),
item AS MATERIALIZED (
    SELECT service_month, product, booking_id, item_id, sum(passengers)::BIGINT AS passengers FROM item_sold GROUP BY ALL
),
first_item AS (
    SELECT booking_id, service_month, arg_min(item_id, (occurred_at, event_id)) AS item_id
    FROM booking JOIN (
        SELECT DISTINCT booking_id, service_month
        FROM item WHERE booking_id IN (SELECT booking_id FROM purchase WHERE item_id IS NULL)
    ) USING (booking_id)
    WHERE event_on >= service_month - 740
    GROUP BY ALL
),
ancillary AS MATERIALIZED (
    SELECT
        service_month, product, booking_id, item_id, event_id, quantity,
        if(category = 'other', 'other:' || sku, category) AS ancillary
    FROM (
        SELECT event_id, event_on, category, sku, quantity, service_month, product, booking_id, item_id
        FROM purchase JOIN item USING (booking_id, item_id)
        UNION ALL
        SELECT event_id, event_on, category, sku, quantity, service_month, i.product, booking_id, i.item_id
        FROM purchase AS p JOIN first_item USING (booking_id) JOIN item AS i USING (booking_id, service_month)
        WHERE p.item_id IS NULL AND i.item_id = first_item.item_id
    )
    WHERE event_on >= service_month - 740 AND event_on <= service_month + INTERVAL 1 MONTH
),
basket AS MATERIALIZED (
    SELECT service_month, product, booking_id, item_id, ancillary, sum(quantity)::BIGINT AS units
    FROM (
        SELECT service_month, product, booking_id, item_id, ancillary, quantity FROM ancillary
        UNION ALL
        SELECT service_month, product, b.booking_id, b.item_id, ancillary, -reversed_units
        FROM cancellation JOIN ancillary AS b ON b.event_id = item_event_id
        WHERE least(event_on, item_booked_on) >= service_month - 740
            AND greatest(event_on, item_booked_on) <= service_month + INTERVAL 1 MONTH
    ) GROUP BY ALL
),
alone AS (
    SELECT service_month, product, ancillary, sum(units)::BIGINT AS units, count(*) FILTER (units > 0) AS items_with
    FROM basket GROUP BY ALL HAVING items_with > 0
),
pair AS (
    SELECT a.service_month, a.product, a.ancillary AS ancillary_a, b.ancillary AS ancillary_b, count(*) AS together
    FROM basket AS a JOIN basket AS b USING (service_month, product, booking_id, item_id)
    WHERE a.units > 0 AND b.units > 0 AND a.ancillary < b.ancillary GROUP BY ALL
),
size AS (
    SELECT service_month, product, count(*) AS items, sum(passengers)::BIGINT AS passenger_items FROM item GROUP BY ALL
),
row AS (
    SELECT
        service_month, product, ancillary AS ancillary_a, '' AS ancillary_b, units, items_with AS items_with_a,
        NULL AS items_with_b, NULL AS items_with_both
    FROM alone
    UNION ALL
    SELECT p.service_month, p.product, ancillary_a, ancillary_b, NULL, a.items_with, b.items_with, together
    FROM pair AS p
        JOIN alone AS a ON a.service_month = p.service_month AND a.product = p.product AND a.ancillary = ancillary_a
        JOIN alone AS b ON b.service_month = p.service_month AND b.product = p.product AND b.ancillary = ancillary_b
)
SELECT
    *, units / nullif(passenger_items, 0) AS attach_rate,
    if(coalesce(items_with_both, items_with_a) >= 30, coalesce(items_with_both, items_with_a) / items, NULL) AS support,
    if(items_with_both >= 30, items_with_both / items_with_a, NULL) AS confidence_a_to_b,
    if(items_with_both >= 30, items_with_both / items_with_b, NULL) AS confidence_b_to_a,
    if(items_with_both >= 30, items_with_both * items / (items_with_a * items_with_b), NULL) AS lift
FROM row JOIN size USING (service_month, product)
