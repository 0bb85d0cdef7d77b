-- What producers with a rate limit may still send: a bucket of tokens for each, one token a
-- signal, which all processes of all servers draw from.
--
-- UNLOGGED, so that no lease waits for the disk: a transaction that writes nothing else commits
-- without a flush (PostgreSQL documentation, CREATE TABLE). What a crash or a failover loses is
-- worth no more: it empties the table, and each bucket begins anew, full.
CREATE UNLOGGED TABLE rate_limit_buckets (
  -- Not a foreign key: to check it would write to the producer's row, and wait for the disk.
  producer_id text COLLATE "C" PRIMARY KEY,
  -- By how much the bucket is refilled each second, and how much it holds at most.
  per_second integer NOT NULL CHECK (per_second > 0),
  -- What was in it at refilled_at.
  tokens double precision NOT NULL CHECK (tokens >= 0),
  refilled_at timestamptz NOT NULL
);

-- Takes from p_least to p_most whole tokens out of the bucket of a producer: as many as there are,
-- but none if there are fewer than p_least. remaining is what is left then.
--
-- The bucket is refilled by the clock of the database, which is read while the row is locked, so
-- that no moment is counted twice. If that clock is set back, nothing is refilled once.
CREATE FUNCTION lease_rate_tokens(
  p_producer_id text,
  p_per_second integer,
  p_least integer,
  p_most integer
) RETURNS TABLE (granted integer, remaining double precision)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_bucket rate_limit_buckets;
  v_now timestamptz;
  v_tokens double precision;
BEGIN
  LOOP
    SELECT * INTO v_bucket FROM rate_limit_buckets
    WHERE producer_id = p_producer_id FOR NO KEY UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO rate_limit_buckets
    VALUES (p_producer_id, p_per_second, p_per_second, clock_timestamp())
    ON CONFLICT DO NOTHING;
  END LOOP;
  v_now := clock_timestamp();
  -- What came in so far came in under the limit of then: a higher one gives nothing at once.
  v_tokens := least(
    v_bucket.tokens
      + v_bucket.per_second * greatest(0, extract(epoch FROM v_now - v_bucket.refilled_at)),
    v_bucket.per_second,
    p_per_second
  );
  granted := CASE WHEN v_tokens >= p_least THEN least(floor(v_tokens), p_most) ELSE 0 END;
  remaining := v_tokens - granted;
  UPDATE rate_limit_buckets
  SET per_second = p_per_second, tokens = remaining, refilled_at = v_now
  WHERE producer_id = p_producer_id;
  RETURN NEXT;
END
$$;
