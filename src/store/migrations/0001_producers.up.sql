-- Who may send signals, and the secrets that prove it.

CREATE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;

-- Producers are disabled, never deleted: their signals go on naming them.
CREATE TABLE producers (
  producer_id text COLLATE "C" PRIMARY KEY
    CHECK (producer_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  enabled boolean NOT NULL DEFAULT true,
  require_approval boolean NOT NULL DEFAULT false,
  -- NULL allows every instrument, an empty array none.
  allowed_instruments text[]
    CHECK (array_position(allowed_instruments, NULL) IS NULL),
  -- NULL means no limit.
  rate_limit_per_second integer CHECK (rate_limit_per_second > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER producers_updated_at BEFORE UPDATE ON producers
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- That a producer has at most two live secrets is kept by the code that rotates
-- them, since what is live changes with the clock and not only with a write.
CREATE TABLE producer_secrets (
  secret_id uuid PRIMARY KEY,
  producer_id text COLLATE "C" NOT NULL REFERENCES producers,
  -- Encrypted before it comes here; the database never sees a secret.
  sealed bytea NOT NULL CHECK (octet_length(sealed) > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- NULL means that it does not expire.
  expires_at timestamptz
);

CREATE INDEX producer_secrets_producer_id ON producer_secrets (producer_id);
