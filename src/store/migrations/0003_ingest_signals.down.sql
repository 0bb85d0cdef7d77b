DROP FUNCTION ingest_signals(
  uuid[], text[], text[], bytea[], integer[], bytea[], text[], timestamptz[], boolean[], text[],
  text[], double precision[], double precision[], double precision[], double precision[],
  double precision[], text[], text[], text[], timestamptz[], smallint[], timestamptz[],
  smallint[], text[]
);
DROP FUNCTION answer_known_signals(
  uuid[], text[], text[], bytea[], integer[], bytea[], uuid[], uuid[]
);
DROP FUNCTION epoch_micros(timestamptz);
DROP FUNCTION lock_signal_sequence();
