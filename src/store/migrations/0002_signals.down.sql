DROP TABLE request_signatures;
DROP TABLE signals;
DROP SEQUENCE signal_sequence;
