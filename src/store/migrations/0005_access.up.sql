-- Who may do what, changed while servers run, and a record of every change.

ALTER TABLE producers
  ADD COLUMN display_name text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 100),
  -- To about a minute, and not at every request.
  ADD COLUMN last_seen_at timestamptz;

-- An empty list meant "none" and now means "all", as in the contract: who may signal no
-- instrument is disabled instead.
UPDATE producers SET enabled = false WHERE allowed_instruments = '{}';
UPDATE producers SET allowed_instruments = NULL WHERE allowed_instruments = '{}';
ALTER TABLE producers
  ADD CONSTRAINT producers_allowed_instruments_some CHECK (cardinality(allowed_instruments) > 0);

-- The public part of a generated secret is its id; hand-made ones keep their UUIDs.
ALTER TABLE producer_secrets
  ALTER COLUMN secret_id TYPE text COLLATE "C",
  ADD COLUMN last_used_at timestamptz;

-- Only the two newest secrets of a producer ever counted.
UPDATE producer_secrets SET expires_at = now()
WHERE secret_id IN (
  SELECT secret_id FROM (
    SELECT secret_id, row_number() OVER (
      PARTITION BY producer_id ORDER BY created_at DESC, secret_id DESC
    ) AS place
    FROM producer_secrets WHERE expires_at IS NULL OR expires_at > now()
  ) AS live
  WHERE place > 2
);

-- "Never" has one form, so that the time until an expiry is always a number.
UPDATE producer_secrets SET expires_at = nullif(greatest(expires_at, created_at), 'infinity')
WHERE NOT isfinite(expires_at);
ALTER TABLE producer_secrets
  ADD CONSTRAINT producer_secrets_expires_at_finite CHECK (isfinite(expires_at));

-- Tokens are random enough that their SHA-256 tells nothing about them.
CREATE TABLE access_tokens (
  token_id text COLLATE "C" PRIMARY KEY CHECK (token_id ~ '^[0-9A-Za-z]+$'),
  token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
  scopes text[] NOT NULL
    CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'review', 'admin']),
  -- NULL sees every producer, also those to come.
  producer_ids text[] COLLATE "C" CHECK (cardinality(producer_ids) BETWEEN 1 AND 100),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- NULL means that it does not expire.
  expires_at timestamptz CHECK (isfinite(expires_at)),
  revoked_at timestamptz,
  last_used_at timestamptz
);

CREATE INDEX access_tokens_created_at ON access_tokens (created_at, token_id);

-- The id of the key that secrets are sealed under; no row until a server has sealed one.
-- Who seals under another key is refused, so that no secret is left that only a key opens
-- which is about to be forgotten.
CREATE TABLE sealing_key (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  key_id bytea NOT NULL CHECK (octet_length(key_id) = 8)
);

CREATE SEQUENCE audit_entry_id AS bigint;

-- Who did what. The names here are copies, so that they stay when what they named is gone.
CREATE TABLE audit_log (
  entry_id bigint PRIMARY KEY DEFAULT nextval('audit_entry_id'),
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- NULL if it was done without a token.
  actor_token_id text COLLATE "C",
  actor_name text NOT NULL CHECK (char_length(actor_name) BETWEEN 1 AND 200),
  action text COLLATE "C" NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
  producer_id text COLLATE "C",
  token_id text COLLATE "C",
  -- NULL if it was done, else why it was refused.
  reason text COLLATE "C",
  before jsonb,
  after jsonb
);

CREATE INDEX audit_log_producer_id ON audit_log (producer_id, entry_id);
CREATE INDEX audit_log_token_id ON audit_log (token_id, entry_id);
CREATE INDEX audit_log_actor_token_id ON audit_log (actor_token_id, entry_id);

-- Not even the owner of the table changes what is in it by mistake.
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
-- Whatever session_replication_role is.
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;

-- Grows with every change of what servers keep in memory. They ask for it a few times a
-- second; a notification only makes them ask at once.
CREATE TABLE access_version (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  version bigint NOT NULL
);

INSERT INTO access_version (version) VALUES (1);

-- Called at the commit, so that no transaction waits for another with that row locked. The
-- schema is named, since who changes a producer by hand may have another search_path.
CREATE FUNCTION bump_access_version() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_transaction text := pg_current_xact_id()::text;
BEGIN
  -- Once is enough: what a transaction changes becomes visible together.
  IF current_setting('countersign.bumped_in', true) IS DISTINCT FROM v_transaction THEN
    PERFORM set_config('countersign.bumped_in', v_transaction, true);
    EXECUTE format('UPDATE %I.access_version SET version = version + 1', TG_TABLE_SCHEMA);
    PERFORM pg_notify('countersign_access', '');
  END IF;
  RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER access_version_rows AFTER INSERT OR DELETE ON producers
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_rows AFTER INSERT OR DELETE ON producer_secrets
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_rows AFTER INSERT OR DELETE ON access_tokens
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_rows AFTER INSERT OR DELETE ON sealing_key
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_access_version();

-- Not for last_seen_at and last_used_at, which change all the time and decide nothing.
CREATE CONSTRAINT TRIGGER access_version_values AFTER UPDATE ON producers
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (
    (OLD.enabled, OLD.require_approval, OLD.allowed_instruments, OLD.rate_limit_per_second)
    IS DISTINCT FROM
    (NEW.enabled, NEW.require_approval, NEW.allowed_instruments, NEW.rate_limit_per_second)
  ) EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_values AFTER UPDATE ON producer_secrets
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (
    (OLD.producer_id, OLD.sealed, OLD.created_at, OLD.expires_at)
    IS DISTINCT FROM (NEW.producer_id, NEW.sealed, NEW.created_at, NEW.expires_at)
  ) EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_values AFTER UPDATE ON access_tokens
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (
    (OLD.token_sha256, OLD.name, OLD.scopes, OLD.producer_ids, OLD.expires_at, OLD.revoked_at)
    IS DISTINCT FROM
    (NEW.token_sha256, NEW.name, NEW.scopes, NEW.producer_ids, NEW.expires_at, NEW.revoked_at)
  ) EXECUTE FUNCTION bump_access_version();
CREATE CONSTRAINT TRIGGER access_version_values AFTER UPDATE ON sealing_key
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.key_id IS DISTINCT FROM NEW.key_id) EXECUTE FUNCTION bump_access_version();

CREATE TRIGGER access_version_truncate AFTER TRUNCATE ON producers
  FOR EACH STATEMENT EXECUTE FUNCTION bump_access_version();
CREATE TRIGGER access_version_truncate AFTER TRUNCATE ON producer_secrets
  FOR EACH STATEMENT EXECUTE FUNCTION bump_access_version();
CREATE TRIGGER access_version_truncate AFTER TRUNCATE ON access_tokens
  FOR EACH STATEMENT EXECUTE FUNCTION bump_access_version();
CREATE TRIGGER access_version_truncate AFTER TRUNCATE ON sealing_key
  FOR EACH STATEMENT EXECUTE FUNCTION bump_access_version();

ALTER TABLE producers
  ENABLE ALWAYS TRIGGER access_version_rows,
  ENABLE ALWAYS TRIGGER access_version_values,
  ENABLE ALWAYS TRIGGER access_version_truncate;
ALTER TABLE producer_secrets
  ENABLE ALWAYS TRIGGER access_version_rows,
  ENABLE ALWAYS TRIGGER access_version_values,
  ENABLE ALWAYS TRIGGER access_version_truncate;
ALTER TABLE access_tokens
  ENABLE ALWAYS TRIGGER access_version_rows,
  ENABLE ALWAYS TRIGGER access_version_values,
  ENABLE ALWAYS TRIGGER access_version_truncate;
ALTER TABLE sealing_key
  ENABLE ALWAYS TRIGGER access_version_rows,
  ENABLE ALWAYS TRIGGER access_version_values,
  ENABLE ALWAYS TRIGGER access_version_truncate;

-- updated_at tells when a person changed something, not when a bot was last seen.
DROP TRIGGER producers_updated_at ON producers;
CREATE TRIGGER producers_updated_at
  BEFORE UPDATE OF enabled, require_approval, allowed_instruments, rate_limit_per_second,
    display_name
  ON producers FOR EACH ROW
  WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();

-- What the audit says of each, and never a secret.

CREATE FUNCTION audited_producer(p producers) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'display_name', p.display_name,
    'enabled', p.enabled,
    'require_approval', p.require_approval,
    'rate_limit_per_second', coalesce(p.rate_limit_per_second, 0),
    'allowed_instruments', to_jsonb(coalesce(p.allowed_instruments, '{}'))
  );
$$;

CREATE FUNCTION audited_time(moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT to_jsonb(to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
$$;

-- The secrets of a producer that have not ended by then, the newest first.
CREATE FUNCTION audited_secrets(p_producer_id text, p_now timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
  SELECT jsonb_build_object('secrets', coalesce(jsonb_agg(
    jsonb_build_object('secret_id', s.secret_id, 'expire_time', audited_time(s.expires_at))
    ORDER BY s.created_at DESC, s.secret_id DESC
  ), '[]'))
  FROM producer_secrets s
  WHERE s.producer_id = p_producer_id AND (s.expires_at IS NULL OR s.expires_at > p_now);
$$;

CREATE FUNCTION audited_token(t access_tokens) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'name', t.name,
    'scopes', to_jsonb(t.scopes),
    'producer_ids', to_jsonb(coalesce(t.producer_ids, '{}')),
    'expire_time', audited_time(t.expires_at),
    'revoke_time', audited_time(t.revoked_at)
  );
$$;

-- The changes. Each is one call and so one transaction, with its audit entry; each locks
-- what it judges first, so that its further statements see what others committed before.
-- All lock in one order, so that no two wait for each other: sealing_key, the producer, its
-- secrets, and at the commit access_version.
-- They return what came of it: 'done', or why nothing was changed.

-- Makes sure that the caller seals under the key that is in force. The first one decides.
CREATE FUNCTION is_sealing_key(p_key_id bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_key_id bytea;
BEGIN
  IF NOT EXISTS (SELECT FROM sealing_key) THEN
    INSERT INTO sealing_key (key_id) VALUES (p_key_id) ON CONFLICT DO NOTHING;
  END IF;
  -- Shared with others who seal, and in the way of whoever rotates the key meanwhile.
  SELECT key_id INTO v_key_id FROM sealing_key FOR SHARE;
  RETURN v_key_id = p_key_id;
END
$$;

-- The secrets of a producer that have not ended by then, the newest first.
CREATE FUNCTION live_secret_ids(p_producer_id text, p_now timestamptz) RETURNS text[]
LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(array_agg(s.secret_id ORDER BY s.created_at DESC, s.secret_id DESC), '{}')
  FROM producer_secrets s
  WHERE s.producer_id = p_producer_id AND (s.expires_at IS NULL OR s.expires_at > p_now);
$$;

-- Adds a secret as the newest one, also where the clock was set back meanwhile.
CREATE FUNCTION add_secret(
  p_producer_id text,
  p_secret_id text,
  p_sealed bytea,
  p_now timestamptz
) RETURNS void
LANGUAGE sql VOLATILE AS $$
  INSERT INTO producer_secrets (secret_id, producer_id, sealed, created_at)
  SELECT p_secret_id, p_producer_id, p_sealed,
    greatest(p_now, max(created_at) + interval '1 microsecond')
  FROM producer_secrets WHERE producer_id = p_producer_id;
$$;

CREATE FUNCTION create_producer(
  p_actor_token_id text,
  p_actor_name text,
  p_producer_id text,
  p_display_name text,
  p_require_approval boolean,
  p_rate_limit_per_second integer,
  p_allowed_instruments text[],
  p_key_id bytea,
  p_secret_id text,
  p_sealed bytea
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_producer producers;
BEGIN
  IF EXISTS (SELECT FROM producers WHERE producer_id = p_producer_id) THEN
    RETURN 'already_exists';
  END IF;
  IF NOT is_sealing_key(p_key_id) THEN
    RETURN 'stale_key';
  END IF;
  INSERT INTO producers (
    producer_id, display_name, require_approval, rate_limit_per_second, allowed_instruments
  ) VALUES (
    p_producer_id, p_display_name, p_require_approval, p_rate_limit_per_second,
    p_allowed_instruments
  )
  ON CONFLICT DO NOTHING
  RETURNING * INTO v_producer;
  IF NOT FOUND THEN
    RETURN 'already_exists';
  END IF;
  PERFORM add_secret(p_producer_id, p_secret_id, p_sealed, now());
  INSERT INTO audit_log (actor_token_id, actor_name, action, producer_id, after)
  VALUES (
    p_actor_token_id, p_actor_name, 'producer.create', p_producer_id,
    audited_producer(v_producer) || audited_secrets(p_producer_id, now())
  );
  RETURN 'done';
END
$$;

-- Changes the settings that p_changed names, by the names of their columns.
CREATE FUNCTION update_producer(
  p_actor_token_id text,
  p_actor_name text,
  p_action text,
  p_producer_id text,
  p_changed text[],
  p_enabled boolean,
  p_display_name text,
  p_require_approval boolean,
  p_rate_limit_per_second integer,
  p_allowed_instruments text[]
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_before jsonb;
  v_after jsonb;
BEGIN
  SELECT audited_producer(p) INTO v_before FROM producers p
  WHERE p.producer_id = p_producer_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'not_found';
  END IF;
  UPDATE producers p SET
    enabled = CASE WHEN 'enabled' = ANY (p_changed) THEN p_enabled ELSE p.enabled END,
    display_name = CASE WHEN 'display_name' = ANY (p_changed)
      THEN p_display_name ELSE p.display_name END,
    require_approval = CASE WHEN 'require_approval' = ANY (p_changed)
      THEN p_require_approval ELSE p.require_approval END,
    rate_limit_per_second = CASE WHEN 'rate_limit_per_second' = ANY (p_changed)
      THEN p_rate_limit_per_second ELSE p.rate_limit_per_second END,
    allowed_instruments = CASE WHEN 'allowed_instruments' = ANY (p_changed)
      THEN p_allowed_instruments ELSE p.allowed_instruments END
  WHERE p.producer_id = p_producer_id
  RETURNING audited_producer(p) INTO v_after;
  -- What was so already is no change, and leaves no entry.
  IF v_before = v_after THEN
    RETURN 'done';
  END IF;
  INSERT INTO audit_log (actor_token_id, actor_name, action, producer_id, before, after)
  VALUES (p_actor_token_id, p_actor_name, p_action, p_producer_id, v_before, v_after);
  RETURN 'done';
END
$$;

-- Adds a secret. The newest one before it goes on for the grace period, others end now.
CREATE FUNCTION rotate_producer_secret(
  p_actor_token_id text,
  p_actor_name text,
  p_producer_id text,
  p_grace_seconds integer,
  p_force boolean,
  p_key_id bytea,
  p_secret_id text,
  p_sealed bytea
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now timestamptz;
  v_before jsonb;
  v_live text[];
BEGIN
  -- Producers are never deleted, so that this needs no lock.
  IF NOT EXISTS (SELECT FROM producers WHERE producer_id = p_producer_id) THEN
    RETURN 'not_found';
  END IF;
  IF NOT is_sealing_key(p_key_id) THEN
    RETURN 'stale_key';
  END IF;
  PERFORM FROM producers WHERE producer_id = p_producer_id FOR UPDATE;
  -- Not the transaction's time, which is that before the wait for the lock.
  v_now := clock_timestamp();
  v_live := live_secret_ids(p_producer_id, v_now);
  IF cardinality(v_live) > 1 AND NOT p_force THEN
    RETURN 'under_way';
  END IF;
  v_before := audited_secrets(p_producer_id, v_now);
  UPDATE producer_secrets
  SET expires_at = CASE WHEN secret_id = v_live[1]
    THEN least(expires_at, v_now + make_interval(secs => p_grace_seconds)) ELSE v_now END
  WHERE secret_id = ANY (v_live);
  PERFORM add_secret(p_producer_id, p_secret_id, p_sealed, v_now);
  INSERT INTO audit_log (actor_token_id, actor_name, action, producer_id, before, after)
  VALUES (
    p_actor_token_id, p_actor_name, 'producer_secret.rotate', p_producer_id,
    v_before, audited_secrets(p_producer_id, v_now)
  );
  RETURN 'done';
END
$$;

-- Ends a secret now. One that has ended stays as it is.
CREATE FUNCTION revoke_producer_secret(
  p_actor_token_id text,
  p_actor_name text,
  p_producer_id text,
  p_secret_id text
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now timestamptz;
  v_before jsonb;
BEGIN
  PERFORM FROM producers WHERE producer_id = p_producer_id FOR UPDATE;
  PERFORM FROM producer_secrets WHERE producer_id = p_producer_id AND secret_id = p_secret_id;
  IF NOT FOUND THEN
    RETURN 'not_found';
  END IF;
  v_now := clock_timestamp();
  v_before := audited_secrets(p_producer_id, v_now);
  UPDATE producer_secrets SET expires_at = v_now
  WHERE secret_id = p_secret_id AND (expires_at IS NULL OR expires_at > v_now);
  IF NOT FOUND THEN
    RETURN 'done';
  END IF;
  INSERT INTO audit_log (actor_token_id, actor_name, action, producer_id, before, after)
  VALUES (
    p_actor_token_id, p_actor_name, 'producer_secret.revoke', p_producer_id,
    v_before, audited_secrets(p_producer_id, v_now)
  );
  RETURN 'done';
END
$$;

-- Makes sure of a producer and a secret that the configuration names. What is there stays,
-- so that a restart undoes nothing that a person changed since. At most the two newest
-- secrets live: an older one ends, as in a rotation.
CREATE FUNCTION ensure_producer(
  p_actor_name text,
  p_producer_id text,
  p_key_id bytea,
  p_secret_id text,
  p_sealed bytea
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now timestamptz;
  v_before jsonb;
  v_is_new boolean;
BEGIN
  -- So it is at nearly every start, and then nothing is waited for.
  IF EXISTS (SELECT FROM producer_secrets WHERE secret_id = p_secret_id) THEN
    RETURN 'done';
  END IF;
  IF NOT is_sealing_key(p_key_id) THEN
    RETURN 'stale_key';
  END IF;
  INSERT INTO producers (producer_id) VALUES (p_producer_id) ON CONFLICT DO NOTHING;
  v_is_new := FOUND;
  PERFORM FROM producers WHERE producer_id = p_producer_id FOR UPDATE;
  IF EXISTS (SELECT FROM producer_secrets WHERE secret_id = p_secret_id) THEN
    RETURN 'done';
  END IF;
  v_now := clock_timestamp();
  v_before := audited_secrets(p_producer_id, v_now);
  PERFORM add_secret(p_producer_id, p_secret_id, p_sealed, v_now);
  UPDATE producer_secrets SET expires_at = v_now
  WHERE secret_id = ANY ((live_secret_ids(p_producer_id, v_now))[3:]);
  INSERT INTO audit_log (actor_name, action, producer_id, before, after)
  SELECT
    p_actor_name,
    CASE WHEN v_is_new THEN 'producer.create' ELSE 'producer_secret.add' END,
    p_producer_id,
    CASE WHEN NOT v_is_new THEN v_before END,
    CASE WHEN v_is_new THEN audited_producer(p) ELSE '{}' END
      || audited_secrets(p_producer_id, v_now)
  FROM producers p WHERE p.producer_id = p_producer_id;
  RETURN 'done';
END
$$;

-- Makes a token. p_only_first is for the first one that administers everything: it is then
-- refused while there is such a token.
CREATE FUNCTION create_access_token(
  p_actor_token_id text,
  p_actor_name text,
  p_action text,
  p_token_id text,
  p_token_sha256 bytea,
  p_name text,
  p_scopes text[],
  p_producer_ids text[],
  p_expires_at timestamptz,
  p_only_first boolean,
  p_live_max integer
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_token access_tokens;
BEGIN
  -- One after the other, since each is judged by those that are there.
  PERFORM FROM access_version FOR UPDATE;
  IF p_only_first AND EXISTS (
    SELECT FROM access_tokens
    WHERE 'admin' = ANY (scopes) AND producer_ids IS NULL AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > clock_timestamp())
  ) THEN
    RETURN 'already_exists';
  END IF;
  IF (
    SELECT count(*) FROM access_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
  ) >= p_live_max THEN
    RETURN 'too_many';
  END IF;
  INSERT INTO access_tokens (token_id, token_sha256, name, scopes, producer_ids, expires_at)
  VALUES (p_token_id, p_token_sha256, p_name, p_scopes, p_producer_ids, p_expires_at)
  RETURNING * INTO v_token;
  INSERT INTO audit_log (actor_token_id, actor_name, action, token_id, after)
  VALUES (p_actor_token_id, p_actor_name, p_action, p_token_id, audited_token(v_token));
  RETURN 'done';
END
$$;

-- Ends a token now. One that has ended stays as it is.
CREATE FUNCTION revoke_access_token(
  p_actor_token_id text,
  p_actor_name text,
  p_token_id text
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_before jsonb;
  v_after jsonb;
BEGIN
  SELECT audited_token(t) INTO v_before FROM access_tokens t
  WHERE t.token_id = p_token_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'not_found';
  END IF;
  UPDATE access_tokens t SET revoked_at = clock_timestamp()
  WHERE t.token_id = p_token_id AND t.revoked_at IS NULL
  RETURNING audited_token(t) INTO v_after;
  IF NOT FOUND THEN
    RETURN 'done';
  END IF;
  INSERT INTO audit_log (actor_token_id, actor_name, action, token_id, before, after)
  VALUES (p_actor_token_id, p_actor_name, 'token.revoke', p_token_id, v_before, v_after);
  RETURN 'done';
END
$$;

-- Seals all secrets anew, under this key from now on. p_secret_ids are all there are, or
-- nothing is changed: 'changed' asks the caller to read them again.
CREATE FUNCTION reseal_producer_secrets(
  p_actor_name text,
  p_action text,
  p_from_key_id bytea,
  p_to_key_id bytea,
  p_secret_ids text[],
  p_sealed bytea[]
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_key_id bytea;
BEGIN
  INSERT INTO sealing_key (key_id) VALUES (p_from_key_id) ON CONFLICT DO NOTHING;
  -- Whoever seals waits from here on, and then finds the new key.
  SELECT key_id INTO v_key_id FROM sealing_key FOR UPDATE;
  IF v_key_id <> p_from_key_id THEN
    RETURN 'stale_key';
  END IF;
  IF EXISTS (
    SELECT FROM producer_secrets s
    FULL JOIN unnest(p_secret_ids) AS given (secret_id) ON given.secret_id = s.secret_id
    WHERE s.secret_id IS NULL OR given.secret_id IS NULL
  ) THEN
    RETURN 'changed';
  END IF;
  UPDATE sealing_key SET key_id = p_to_key_id;
  UPDATE producer_secrets s SET sealed = given.sealed
  FROM unnest(p_secret_ids, p_sealed) AS given (secret_id, sealed)
  WHERE s.secret_id = given.secret_id;
  INSERT INTO audit_log (actor_name, action, before, after)
  VALUES (
    p_actor_name, p_action,
    jsonb_build_object('key_id', encode(p_from_key_id, 'hex')),
    jsonb_build_object(
      'key_id', encode(p_to_key_id, 'hex'), 'secrets', cardinality(p_secret_ids)
    )
  );
  RETURN 'done';
END
$$;

-- Notes who was seen lately, once a minute at most. Rows that somebody else holds are left
-- for the next time, so that this waits for nobody. The first use of a secret or a token is
-- told in the audit.
CREATE FUNCTION record_use(
  p_producer_ids text[],
  p_secret_ids text[],
  p_token_ids text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_until timestamptz := now() - interval '50 seconds';
BEGIN
  UPDATE producers SET last_seen_at = now()
  WHERE producer_id IN (
    SELECT producer_id FROM producers
    WHERE producer_id = ANY (p_producer_ids)
      AND (last_seen_at IS NULL OR last_seen_at < v_until)
    FOR NO KEY UPDATE SKIP LOCKED
  );

  WITH found AS (
    SELECT secret_id, producer_id, last_used_at FROM producer_secrets
    WHERE secret_id = ANY (p_secret_ids)
      AND (last_used_at IS NULL OR last_used_at < v_until)
    FOR NO KEY UPDATE SKIP LOCKED
  ), noted AS (
    UPDATE producer_secrets SET last_used_at = now()
    WHERE secret_id IN (SELECT secret_id FROM found)
  )
  INSERT INTO audit_log (actor_name, action, producer_id, after)
  SELECT
    'producer ' || producer_id, 'producer_secret.first_use', producer_id,
    jsonb_build_object('secret_id', secret_id)
  FROM found WHERE last_used_at IS NULL;

  WITH found AS (
    SELECT token_id, name, last_used_at FROM access_tokens
    WHERE token_id = ANY (p_token_ids)
      AND (last_used_at IS NULL OR last_used_at < v_until)
    FOR NO KEY UPDATE SKIP LOCKED
  ), noted AS (
    UPDATE access_tokens SET last_used_at = now()
    WHERE token_id IN (SELECT token_id FROM found)
  )
  INSERT INTO audit_log (actor_token_id, actor_name, action, token_id)
  SELECT token_id, name, 'token.first_use', token_id
  FROM found WHERE last_used_at IS NULL;
END
$$;
