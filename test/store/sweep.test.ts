import { expect, inject, test } from "vitest";
import { assertSafe, openDatabase, UnsafeDatabaseError } from "../../src/store/index.ts";
import { silentLog } from "../support/postgres.ts";
import { findBroken, type Hostile, openSweptDatabase, type SweptDatabase } from "./sweep.ts";

/** Why no session can make up for a setting, and what comes of it is refused as unavailable. */
const BEYOND_A_SESSION: ReadonlyMap<string, string> = new Map([
  ["default_transaction_read_only", "whoever sets it wants nothing to be written"],
  ["local_preload_libraries", "no client of this role can connect"],
  ["session_preload_libraries", "no client of this role can connect"],
  ["dynamic_library_path", "only a superuser may set it, and the server lacks its own language"],
  ["extension_destdir", "only a superuser may set it, and the server lacks its own language"],
]);

/**
 * Takes all settings at once, in as many rounds as the setting with the most values needs,
 * and looks for the one that is to blame only if a round breaks.
 */
async function findAllBroken(
  swept: SweptDatabase,
  url: string,
  beyond: readonly string[] = [],
): Promise<Set<string>> {
  const known = new Set([...BEYOND_A_SESSION.keys(), ...beyond]);
  const broken = new Set<string>();
  const rounds = Math.max(...[...swept.hostiles.values()].map((values) => values.length));
  let covered = 0;
  for (let round = 0; round < rounds; round += 1) {
    const on = round % 2 === 0 ? "ROLE" : "DATABASE";
    const values = [...swept.hostiles.values()].flatMap((all) => all[round] ?? []);
    let suspects = await swept.set(on, values);
    covered += suspects.length;
    suspects = suspects.filter(({ name }) => !known.has(name) && !broken.has(name));
    for (;;) {
      const culprit = await findCulprit(swept, on, suspects, url);
      if (culprit === undefined) break;
      broken.add(culprit.name);
      suspects = suspects.filter(({ name }) => name !== culprit.name);
    }
  }
  expect(covered).toBeGreaterThan(400);
  return broken;
}

/** One of the settings that break something when all are set; `undefined` if none does. */
async function findCulprit(
  swept: SweptDatabase,
  on: "ROLE" | "DATABASE",
  suspects: readonly Hostile[],
  url: string,
): Promise<Hostile | undefined> {
  await swept.set(on, suspects);
  if ((await findBroken(url)) === undefined) return undefined;
  if (suspects.length <= 1) return suspects[0];
  const middle = suspects.length >> 1;
  return (
    (await findCulprit(swept, on, suspects.slice(0, middle), url)) ??
    (await findCulprit(swept, on, suspects.slice(middle), url))
  );
}

test("no setting of a role or a database breaks anything that is stored or read", {
  timeout: 240_000,
}, async () => {
  await using swept = await openSweptDatabase(inject("postgresUrl"));
  expect(swept.hostiles.size).toBeGreaterThan(150);
  expect(await findAllBroken(swept, swept.url)).toEqual(new Set());
  for (const name of BEYOND_A_SESSION.keys()) {
    await swept.set("ROLE", swept.hostiles.get(name)?.slice(0, 1) ?? []);
    // Some versions do not mind one or the other.
    const outcome = await findBroken(swept.url);
    if (outcome !== undefined) expect(outcome, name).toContain("StoreUnavailableError");
  }
});

/** What PgBouncer does not pass on, and would change something or end what runs. */
const BEYOND_A_POOLER = [
  ...["array_nulls", "bytea_output", "extra_float_digits", "default_transaction_isolation"],
  ...["search_path", "statement_timeout", "transaction_timeout", "idle_session_timeout"],
];

test("no other breaks sessions that a pooler sets up, and these are refused by name, or fail", {
  timeout: 240_000,
}, async () => {
  await using swept = await openSweptDatabase(inject("postgresUrl"));
  expect(await findAllBroken(swept, swept.pooledUrl, BEYOND_A_POOLER)).toEqual(new Set());
  const refused = new Set<string>();
  for (const hostile of BEYOND_A_POOLER.flatMap((name) => swept.hostiles.get(name) ?? [])) {
    if ((await swept.set("ROLE", [hostile])).length === 0) continue;
    const database = openDatabase({ url: swept.pooledUrl, poolSize: 1, log: silentLog });
    const error = await assertSafe(database).catch((thrown: unknown) => thrown);
    await database.close(500);
    if (error instanceof UnsafeDatabaseError) {
      expect(error.message).toContain(`${hostile.name} is `);
      refused.add(hostile.name);
      continue;
    }
    // It does no harm, or ends sessions or statements, or hides the tables: then all fail.
    const outcome = await findBroken(swept.pooledUrl);
    const text = `${hostile.name} = ${hostile.value}`;
    if (outcome !== undefined) expect(outcome, text).toContain("StoreUnavailableError");
  }
  expect(refused).toEqual(new Set(BEYOND_A_POOLER.slice(0, 4)));
});
