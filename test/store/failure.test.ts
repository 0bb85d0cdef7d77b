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
  ["broken", "08000 08001 08003 08004 08006 08P01 57P01 57P02 57P03 57P04 57P05"],
  ["useless", "25006 25001 25P02 26000 42P05"],
  [
    undefined,
    "25P03 25P04 0A000 22P02 23505 28P01 3D000 40001 40P01 42501 42P01 53100 53200 53300 55000 55P03 57014 58030 72000 P0001 XX000",
  ],
])("with these SQLSTATEs the connections are %s: %s", (end, codes) => {
  for (const code of codes.split(" ")) expect(endOfConnections(answer(code)), code).toBe(end);
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
