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
async function findAllBroken(swept: SweptDatabase, prepare: boolean): Promise<Set<string>> {
  const broken = new Set<string>(BEYOND_A_SESSION.keys());
  const rounds = Math.max(...[...swept.hostiles.values()].map((values) => values.length));
  let covered = 0;
  for (let round = 0; round < rounds; round += 1) {
    const on = round % 2 === 0 ? "ROLE" : "DATABASE";
    const values = [...swept.hostiles.values()].flatMap((all) => all[round] ?? []);
    let suspects = await swept.set(on, values);
    covered += suspects.length;
    suspects = suspects.filter(({ name }) => !broken.has(name));
    for (;;) {
      const culprit = await findCulprit(swept, on, suspects, prepare);
      if (culprit === undefined) break;
      broken.add(culprit.name);
      suspects = suspects.filter(({ name }) => name !== culprit.name);
    }
  }
  expect(covered).toBeGreaterThan(400);
  for (const name of BEYOND_A_SESSION.keys()) broken.delete(name);
  return broken;
}

/** One of the settings that break something when all are set; `undefined` if none does. */
async function findCulprit(
  swept: SweptDatabase,
  on: "ROLE" | "DATABASE",
  suspects: readonly Hostile[],
  prepare: boolean,
): Promise<Hostile | undefined> {
  await swept.set(on, suspects);
  if ((await findBroken(swept.url, prepare)) === undefined) return undefined;
  if (suspects.length <= 1) return suspects[0];
  const middle = suspects.length >> 1;
  return (
    (await findCulprit(swept, on, suspects.slice(0, middle), prepare)) ??
    (await findCulprit(swept, on, suspects.slice(middle), prepare))
  );
}

test("no setting of a role or a database breaks anything that is stored or read", {
  timeout: 120_000,
}, async () => {
  await using swept = await openSweptDatabase(inject("postgresUrl"));
  expect(swept.hostiles.size).toBeGreaterThan(150);
  expect(await findAllBroken(swept, true)).toEqual(new Set());
  for (const name of BEYOND_A_SESSION.keys()) {
    await swept.set("ROLE", swept.hostiles.get(name)?.slice(0, 1) ?? []);
    // Some versions do not mind one or the other.
    const outcome = await findBroken(swept.url);
    if (outcome !== undefined) expect(outcome, name).toContain("StoreUnavailableError");
  }
});

test("what breaks sessions that a pooler sets up is refused by name, or makes statements fail", {
  timeout: 120_000,
}, async () => {
  await using swept = await openSweptDatabase(inject("postgresUrl"));
  const broken = await findAllBroken(swept, false);
  const refused = new Set<string>();
  for (const name of broken) {
    for (const hostile of swept.hostiles.get(name) ?? []) {
      if ((await swept.set("ROLE", [hostile])).length === 0) continue;
      const outcome = await findBroken(swept.url, false);
      if (outcome === undefined) continue;
      const database = openDatabase({
        url: swept.url,
        poolSize: 1,
        log: silentLog,
        prepare: false,
      });
      const error = await assertSafe(database).catch((thrown: unknown) => thrown);
      await database.close(500);
      if (error instanceof UnsafeDatabaseError) {
        expect(error.message).toContain(`${name} is `);
        refused.add(name);
      } else {
        // It ends sessions or statements, or hides the tables: then all of them fail.
        expect(outcome, `${name} = ${hostile.value}`).toContain("StoreUnavailableError");
      }
    }
  }
  expect(refused).toContain("array_nulls");
  expect(refused).toContain("bytea_output");
  expect(refused).toContain("extra_float_digits");
});
