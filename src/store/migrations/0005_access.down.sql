DROP FUNCTION record_use;
DROP FUNCTION reseal_producer_secrets;
DROP FUNCTION revoke_access_token;
DROP FUNCTION create_access_token;
DROP FUNCTION ensure_producer;
DROP FUNCTION revoke_producer_secret;
DROP FUNCTION rotate_producer_secret;
DROP FUNCTION update_producer;
DROP FUNCTION create_producer;
DROP FUNCTION add_secret;
DROP FUNCTION live_secret_ids;
DROP FUNCTION is_sealing_key;
DROP FUNCTION audited_token;
DROP FUNCTION audited_secrets;
DROP FUNCTION audited_time;
DROP FUNCTION audited_producer;
DROP TABLE audit_log;
DROP SEQUENCE audit_entry_id;
DROP FUNCTION refuse_audit_change;
DROP TABLE access_tokens;
DROP TRIGGER access_version_rows ON producer_secrets;
DROP TRIGGER access_version_values ON producer_secrets;
DROP TRIGGER access_version_truncate ON producer_secrets;
DROP TRIGGER access_version_rows ON producers;
DROP TRIGGER access_version_values ON producers;
DROP TRIGGER access_version_truncate ON producers;
-- Secrets that were generated have no UUID: an earlier version cannot use them, nor open
-- what is sealed in the newer form, which has the id of its key after a byte for the form.
DELETE FROM producer_secrets
WHERE secret_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  OR substring(sealed FROM 2 FOR 8) IN (SELECT key_id FROM sealing_key);
DROP TABLE sealing_key;
DROP FUNCTION bump_access_version;
DROP TABLE access_version;
DROP TRIGGER producers_updated_at ON producers;
CREATE TRIGGER producers_updated_at BEFORE UPDATE ON producers
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();
ALTER TABLE producer_secrets
  DROP CONSTRAINT producer_secrets_expires_at_finite,
  DROP COLUMN last_used_at,
  ALTER COLUMN secret_id TYPE uuid USING secret_id::uuid;
ALTER TABLE producers
  DROP CONSTRAINT producers_allowed_instruments_some,
  DROP COLUMN last_seen_at,
  DROP COLUMN display_name;
