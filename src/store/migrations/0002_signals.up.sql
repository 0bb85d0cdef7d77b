-- The signals themselves.

-- Gives every insert and every status change of a signal its place in the order in
-- which they became visible. It has gaps.
CREATE SEQUENCE signal_sequence AS bigint;

-- Lengths are checked apart from the characters: a regular expression that counts, such
-- as {1,128}, takes longer than all else that is done to store a row.
CREATE TABLE signals (
  signal_id uuid PRIMARY KEY,
  -- Not a foreign key: it would lock the producer's row for each signal on the hot
  -- path, producers are never deleted, and unsigned development mode has none.
  producer_id text COLLATE "C" NOT NULL
    CHECK (octet_length(producer_id) <= 64 AND producer_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$'),
  idempotency_key text COLLATE "C"
    CHECK (octet_length(idempotency_key) <= 128 AND idempotency_key ~ '^[!-~]+$'),
  content_sha256 bytea NOT NULL CHECK (octet_length(content_sha256) = 32),
  status text NOT NULL
    CHECK (status IN ('received', 'pending_approval', 'approved', 'rejected', 'expired')),
  sequence bigint NOT NULL DEFAULT nextval('signal_sequence'),

  instrument text COLLATE "C" NOT NULL
    CHECK (octet_length(instrument) BETWEEN 2 AND 20 AND instrument ~ '^[A-Z0-9._-]+$'),
  side text NOT NULL CHECK (side IN ('buy', 'sell')),
  -- NaN sorts above every number in PostgreSQL, so an upper bound refuses it too.
  entry_price double precision NOT NULL CHECK (entry_price > 0 AND entry_price <= 1e12),
  stop_loss double precision CHECK (stop_loss > 0 AND stop_loss <= 1e12),
  take_profit double precision CHECK (take_profit > 0 AND take_profit <= 1e12),
  confidence double precision CHECK (confidence >= 0 AND confidence <= 1),
  risk_percent double precision CHECK (risk_percent > 0 AND risk_percent <= 100),
  strategy_name text NOT NULL CHECK (char_length(strategy_name) <= 64),
  reason text NOT NULL CHECK (char_length(reason) <= 500),
  comment text NOT NULL CHECK (char_length(comment) <= 500),

  -- A timestamptz has microseconds, a signal has nanoseconds: the *_nanos columns hold
  -- the nanoseconds below the microsecond.
  signal_time timestamptz NOT NULL CHECK (signal_time >= '2000-01-01T00:00:00Z'),
  signal_time_nanos smallint NOT NULL CHECK (signal_time_nanos BETWEEN 0 AND 999),
  expire_time timestamptz,
  expire_time_nanos smallint CHECK (expire_time_nanos BETWEEN 0 AND 999),
  payload jsonb CHECK (jsonb_typeof(payload) = 'object'),

  receive_time timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT signals_prices_check CHECK (
    CASE side
      WHEN 'buy' THEN coalesce(stop_loss < entry_price, true)
                  AND coalesce(take_profit > entry_price, true)
      ELSE coalesce(stop_loss > entry_price, true)
       AND coalesce(take_profit < entry_price, true)
    END
  ),
  CONSTRAINT signals_expire_time_check CHECK (
    (expire_time IS NULL) = (expire_time_nanos IS NULL)
    AND coalesce(
      (expire_time, expire_time_nanos) > (signal_time, signal_time_nanos),
      true
    )
  )
);

CREATE UNIQUE INDEX signals_idempotency_key ON signals (producer_id, idempotency_key);
CREATE UNIQUE INDEX signals_sequence ON signals (sequence);
CREATE INDEX signals_instrument_signal_time ON signals (instrument, signal_time);
CREATE INDEX signals_producer_id_sequence ON signals (producer_id, sequence);
CREATE INDEX signals_pending_approval ON signals (sequence) WHERE status = 'pending_approval';

CREATE TRIGGER signals_updated_at BEFORE UPDATE ON signals
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- Which signal a request led to, for the requests whose signature does not cover their
-- idempotency key. A separate table, since a signal has as many of these as it was
-- retried: a captured retry, sent again under another key, must find the signal too.
-- A signature is only ever accepted within minutes of its timestamp, so rows older than
-- a day can be deleted.
CREATE TABLE request_signatures (
  producer_id text COLLATE "C" NOT NULL,
  request_signature bytea NOT NULL CHECK (octet_length(request_signature) = 32),
  request_item integer NOT NULL CHECK (request_item >= 0),
  -- Names no row if the request was refused because its signal had expired.
  signal_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (producer_id, request_signature, request_item)
);
