DROP FUNCTION lease_rate_tokens(text, integer, integer, integer);
DROP TABLE rate_limit_buckets;
