DROP TABLE producer_secrets;
DROP TABLE producers;
DROP FUNCTION set_updated_at();
