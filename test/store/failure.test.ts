import net from "node:net";
import postgres from "postgres";
import { expect, inject, test } from "vitest";
import { resolveServer } from "../../src/store/connection/server.ts";
import { endOfConnections, toStoreUnavailableError } from "../../src/store/failure.ts";
import { createPool } from "../../src/store/pool.ts";
import { silentLog } from "../support/postgres.ts";

function answer(code: string): postgres.PostgresError {
  return Object.assign(new postgres.PostgresError("made for a test"), { code });
}

test.each([
  ["08000", "connection_exception", "broken"],
  ["08001", "sqlclient_unable_to_establish_sqlconnection", "broken"],
  ["08003", "connection_does_not_exist", "broken"],
  ["08004", "sqlserver_rejected_establishment_of_sqlconnection", "broken"],
  ["08006", "connection_failure", "broken"],
  ["08P01", "protocol_violation", "broken"],
  ["57P01", "admin_shutdown", "broken"],
  ["57P02", "crash_shutdown", "broken"],
  ["57P03", "cannot_connect_now", "broken"],
  ["57P04", "database_dropped", "broken"],
  ["57P05", "idle_session_timeout", "broken"],
  ["25006", "read_only_sql_transaction", "useless"],
  ["25001", "active_sql_transaction", "useless"],
  ["25P02", "in_failed_sql_transaction", "useless"],
  ["26000", "invalid_sql_statement_name", "useless"],
  ["42P05", "duplicate_prepared_statement", "useless"],
  ["25P03", "idle_in_transaction_session_timeout", undefined],
  ["25P04", "transaction_timeout", undefined],
  ["0A000", "feature_not_supported", undefined],
  ["22P02", "invalid_text_representation", undefined],
  ["23505", "unique_violation", undefined],
  ["28P01", "invalid_password", undefined],
  ["3D000", "invalid_catalog_name", undefined],
  ["40001", "serialization_failure", undefined],
  ["40P01", "deadlock_detected", undefined],
  ["42501", "insufficient_privilege", undefined],
  ["42P01", "undefined_table", undefined],
  ["53100", "disk_full", undefined],
  ["53200", "out_of_memory", undefined],
  ["53300", "too_many_connections", undefined],
  ["55000", "object_not_in_prerequisite_state", undefined],
  ["55P03", "lock_not_available", undefined],
  ["57014", "query_canceled", undefined],
  ["58030", "io_error", undefined],
  ["72000", "snapshot_too_old", undefined],
  ["P0001", "raise_exception", undefined],
  ["XX000", "internal_error", undefined],
])("%s (%s): the connections are %s", (code, _, end) => {
  expect(endOfConnections(answer(code))).toBe(end);
});

test("an error of the network ends the connections", async () => {
  const error = await new Promise((resolve) => net.connect(1, "127.0.0.1").once("error", resolve));
  expect(endOfConnections(error)).toBe("broken");
});

test("a server that is too old for a setting of the session is told to be", async () => {
  const server = resolveServer(inject("postgresUrl"), async () => true);
  const sessionSettings = { setting_of_a_later_version: "on" };
  const pool = createPool({ server, size: 1, prepare: true, sessionSettings, log: silentLog });
  const error = await pool.sql`SELECT`.catch(toStoreUnavailableError);
  pool.destroy();
  expect(error).toMatchObject({
    message: expect.stringMatching(/"setting_of_a_later_version" \(use PostgreSQL 15 or newer\)$/),
  });
});
