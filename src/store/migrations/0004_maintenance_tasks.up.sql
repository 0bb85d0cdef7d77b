-- Work that one process does for all servers of this database, and where it stands.
--
-- A table, and not an advisory lock: it also keeps the time of the next run, it needs no
-- session of its own, which a connection pooler between would not give, and a process that
-- dies holds nothing.
CREATE TABLE maintenance_tasks (
  name text COLLATE "C" PRIMARY KEY,
  -- From when the next run may begin. Whoever moves it on has that run.
  due_at timestamptz NOT NULL DEFAULT now(),
  -- The block of the table's file at which the next run goes on, counted from 0.
  next_block bigint NOT NULL DEFAULT 0 CHECK (next_block >= 0)
);

INSERT INTO maintenance_tasks (name) VALUES ('purge_request_signatures');
