-- Storing a batch of signals exactly once, as one function call and so as one
-- transaction that cannot be cut in two by a lost connection.

-- Whoever takes a number from signal_sequence calls this first and holds the lock until
-- the commit. So the numbers become visible in their own order, and a reader that
-- resumes after the last number it saw misses nothing. Batches that share keys cannot
-- deadlock either.
CREATE FUNCTION lock_signal_sequence() RETURNS void
LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(4850289311207713);
$$;

-- Microseconds since 1970-01-01T00:00:00Z, exactly.
CREATE FUNCTION epoch_micros(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT (extract(epoch FROM moment) * 1000000)::bigint;
$$;

-- Answers for the candidates of a batch that ingest_signals did not store as a whole:
-- outcome is stored for those in p_new_ids, else duplicate, key_reused or expired.
-- p_claimed_ids are those whose request was the first with its signature.
--
-- A known signature decides before a known key, since the key came unsigned with it; and
-- both decide before the expire time, so that a late retry gets its first result.
--
-- Each lookup is a query of its own by a whole unique key, and is planned anew on each
-- call. Joins, and plans that were made while the tables were small, read large parts of
-- them for each batch when they have grown.
CREATE FUNCTION answer_known_signals(
  p_signal_ids uuid[],
  p_producer_ids text[],
  p_idempotency_keys text[],
  p_request_signatures bytea[],
  p_request_items integer[],
  p_content_sha256s bytea[],
  p_claimed_ids uuid[],
  p_new_ids uuid[]
) RETURNS TABLE (
  item bigint,
  outcome text,
  signal_id uuid,
  status text,
  receive_time timestamptz
)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  v_retry record;
BEGIN
  -- A retry under a known key came with a signature of its own: let that name the signal.
  FOR v_retry IN
    SELECT c.producer_id, c.request_signature, c.request_item, (
        SELECT s.signal_id FROM signals s
        WHERE s.producer_id = c.producer_id AND s.idempotency_key = c.idempotency_key
      ) AS signal_id
    FROM unnest(
      p_signal_ids, p_producer_ids, p_idempotency_keys, p_request_signatures, p_request_items
    ) AS c (signal_id, producer_id, idempotency_key, request_signature, request_item)
    WHERE c.signal_id IN (SELECT unnest(p_claimed_ids) EXCEPT SELECT unnest(p_new_ids))
  LOOP
    UPDATE request_signatures
    SET signal_id = v_retry.signal_id
    WHERE v_retry.signal_id IS NOT NULL
      AND producer_id = v_retry.producer_id
      AND request_signature = v_retry.request_signature
      AND request_item = v_retry.request_item;
  END LOOP;

  RETURN QUERY
  SELECT
    c.item,
    CASE
      WHEN s.signal_id IS NULL THEN 'expired'
      WHEN n.signal_id IS NOT NULL THEN 'stored'
      WHEN s.content_sha256 = c.content_sha256 THEN 'duplicate'
      ELSE 'key_reused'
    END,
    s.signal_id,
    s.status,
    s.receive_time
  FROM (
    SELECT u.item, u.signal_id, u.content_sha256, coalesce(
        (
          SELECT r.signal_id FROM request_signatures r
          WHERE r.producer_id = u.producer_id
            AND r.request_signature = u.request_signature
            AND r.request_item = u.request_item
        ),
        (
          SELECT k.signal_id FROM signals k
          WHERE k.producer_id = u.producer_id AND k.idempotency_key = u.idempotency_key
        ),
        u.signal_id
      ) AS known_id
    FROM unnest(
      p_signal_ids, p_producer_ids, p_idempotency_keys, p_request_signatures, p_request_items,
      p_content_sha256s
    ) WITH ORDINALITY AS u (
      signal_id, producer_id, idempotency_key, request_signature, request_item,
      content_sha256, item
    )
  ) AS c
  LEFT JOIN unnest(p_new_ids) AS n (signal_id) ON n.signal_id = c.signal_id
  -- LIMIT keeps this a lookup: it cannot be turned into a join of the whole table.
  LEFT JOIN LATERAL (
    SELECT * FROM signals WHERE signal_id = c.known_id LIMIT 1
  ) AS s ON true
  ORDER BY c.item;
END
$$;

-- Takes one array per field, all of the same length, and returns one row per candidate,
-- in order: outcome is stored, duplicate, key_reused or expired, and the other columns
-- are those of the signal that is on disk (NULL for expired).
--
-- Each statement below sees what the statements before it did, and what other
-- transactions committed before this one got the lock: that needs READ COMMITTED.
CREATE FUNCTION ingest_signals(
  p_signal_ids uuid[],
  p_producer_ids text[],
  p_idempotency_keys text[],
  p_request_signatures bytea[],
  p_request_items integer[],
  p_content_sha256s bytea[],
  p_statuses text[],
  p_receive_times timestamptz[],
  p_expired boolean[],
  p_instruments text[],
  p_sides text[],
  p_entry_prices double precision[],
  p_stop_losses double precision[],
  p_take_profits double precision[],
  p_confidences double precision[],
  p_risk_percents double precision[],
  p_strategy_names text[],
  p_reasons text[],
  p_comments text[],
  p_signal_times timestamptz[],
  p_signal_time_nanos smallint[],
  p_expire_times timestamptz[],
  p_expire_time_nanos smallint[],
  p_payloads text[]
) RETURNS TABLE (
  item bigint,
  outcome text,
  signal_id uuid,
  status text,
  receive_time timestamptz
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  v_claimed_ids uuid[];
  v_new_ids uuid[];
BEGIN
  PERFORM lock_signal_sequence();

  -- Each request claims its signature for the signal that it would become. The claim of a
  -- replay fails, also of one in the same batch.
  WITH claimed AS (
    INSERT INTO request_signatures (producer_id, request_signature, request_item, signal_id)
    SELECT c.producer_id, c.request_signature, c.request_item, c.signal_id
    FROM unnest(p_producer_ids, p_request_signatures, p_request_items, p_signal_ids)
      WITH ORDINALITY AS c (producer_id, request_signature, request_item, signal_id, item)
    WHERE c.request_signature IS NOT NULL
    ORDER BY c.item
    ON CONFLICT DO NOTHING
    RETURNING signal_id
  )
  SELECT array_agg(signal_id) INTO v_claimed_ids FROM claimed;

  WITH inserted AS (
    INSERT INTO signals (
      signal_id, producer_id, idempotency_key, content_sha256, status, receive_time,
      instrument, side, entry_price, stop_loss, take_profit, confidence, risk_percent,
      strategy_name, reason, comment,
      signal_time, signal_time_nanos, expire_time, expire_time_nanos, payload
    )
    SELECT
      c.signal_id, c.producer_id, c.idempotency_key, c.content_sha256, c.status, c.receive_time,
      c.instrument, c.side, c.entry_price, c.stop_loss, c.take_profit, c.confidence,
      c.risk_percent, c.strategy_name, c.reason, c.comment,
      c.signal_time, c.signal_time_nanos, c.expire_time, c.expire_time_nanos, c.payload::jsonb
    FROM unnest(
      p_signal_ids, p_producer_ids, p_idempotency_keys, p_request_signatures,
      p_content_sha256s, p_statuses, p_receive_times, p_expired, p_instruments, p_sides,
      p_entry_prices, p_stop_losses, p_take_profits, p_confidences, p_risk_percents,
      p_strategy_names, p_reasons, p_comments, p_signal_times, p_signal_time_nanos,
      p_expire_times, p_expire_time_nanos, p_payloads
    ) WITH ORDINALITY AS c (
      signal_id, producer_id, idempotency_key, request_signature,
      content_sha256, status, receive_time, expired, instrument, side,
      entry_price, stop_loss, take_profit, confidence, risk_percent,
      strategy_name, reason, comment, signal_time, signal_time_nanos,
      expire_time, expire_time_nanos, payload, item
    )
    LEFT JOIN unnest(v_claimed_ids) AS claimed (signal_id) ON claimed.signal_id = c.signal_id
    WHERE NOT c.expired
      AND (c.request_signature IS NULL OR claimed.signal_id IS NOT NULL)
    -- The order gives the earlier of two candidates with one key the row, and the
    -- numbers of signal_sequence the order of the batch.
    ORDER BY c.item
    ON CONFLICT DO NOTHING
    RETURNING signal_id
  )
  SELECT array_agg(signal_id) INTO v_new_ids FROM inserted;

  IF cardinality(v_new_ids) = cardinality(p_signal_ids) THEN
    RETURN QUERY
    SELECT c.item, 'stored', c.signal_id, c.status, c.receive_time
    FROM unnest(p_signal_ids, p_statuses, p_receive_times)
      WITH ORDINALITY AS c (signal_id, status, receive_time, item);
  ELSE
    RETURN QUERY
    SELECT * FROM answer_known_signals(
      p_signal_ids, p_producer_ids, p_idempotency_keys, p_request_signatures, p_request_items,
      p_content_sha256s, v_claimed_ids, v_new_ids
    );
  END IF;
END
$$;
