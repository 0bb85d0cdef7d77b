import { beforeEach, expect, test } from "vitest";
import { createSignalStore, createSignaturePurge } from "../../src/store/index.ts";
import { aCandidate, aSignature } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 10_000;
const HOUR_MS = 3_600_000;

const database = await openTestDatabase(10);

beforeEach(async () => {
  await run("TRUNCATE request_signatures");
  await run("UPDATE maintenance_tasks SET due_at = now(), next_block = 0");
});

async function run<Row extends object>(statement: string): Promise<readonly Row[]> {
  return database.query<Row>(TIMEOUT_MS, (sql) => sql.unsafe<Row[]>(statement));
}

/** Rows of this age, each with a signature of its own. */
async function addRows(count: number, age: string): Promise<void> {
  await run(`
    INSERT INTO request_signatures
      (producer_id, request_signature, request_item, signal_id, created_at)
    SELECT 'bot', sha256(random()::text::bytea || n::text::bytea), 0, gen_random_uuid(),
      now() - interval '${age}'
    FROM generate_series(1, ${count}) AS n
  `);
}

async function countRows(): Promise<number> {
  const [row] = await run<{ count: number }>("SELECT count(*)::int FROM request_signatures");
  return row?.count ?? 0;
}

test("deletes what is older than a day, and nothing else", async () => {
  await addRows(3, "25 hours");
  await addRows(2, "24 hours 1 second");
  await addRows(5, "23 hours 59 minutes");
  const signature = aSignature();
  const candidate = aCandidate({ requestSignature: signature });
  const store = createSignalStore(database);
  await store.ingest([candidate], TIMEOUT_MS);

  const purge = createSignaturePurge(database);
  const begun = await purge.begin(HOUR_MS);
  expect(begun).toEqual({ nextBlock: 0, blockCount: 1 });
  expect(await purge.deleteFrom(0, 1)).toBe(5);
  expect(await countRows()).toBe(6);
  // A replay of what was stored just now still finds its signal.
  expect(await store.ingest([aCandidate({ requestSignature: signature })], TIMEOUT_MS)).toEqual([
    expect.objectContaining({ kind: "duplicate", signalId: candidate.signalId }),
  ]);
});

test("a step touches no blocks but its own, and reads no others", async () => {
  await addRows(2_000, "2 days");
  const purge = createSignaturePurge(database);
  const begun = await purge.begin(HOUR_MS);
  expect(begun?.blockCount).toBeGreaterThan(4);
  const deleted = await purge.deleteFrom(1, 3);
  expect(deleted).toBeGreaterThan(0);
  const blocks = await run<{ block: number }>(
    "SELECT DISTINCT (ctid::text::point)[0]::int AS block FROM request_signatures ORDER BY 1",
  );
  const left = blocks.map(({ block }) => block);
  expect(left.slice(0, 2)).toEqual([0, 3]);
  expect(left).toHaveLength((begun?.blockCount ?? 0) - 2);

  const plan = await run<Record<string, string>>(`EXPLAIN DELETE FROM request_signatures
    WHERE ctid >= '(1,0)'::tid AND ctid < '(3,0)'::tid AND created_at < now() - interval '1 day'`);
  expect(JSON.stringify(plan)).toContain("Tid Range Scan");
  expect(await purge.deleteFrom(0, begun?.blockCount ?? 0)).toBe(2_000 - deleted);
  expect(await countRows()).toBe(0);
});

test("of many servers one gets the run, and the next one only after the interval", async () => {
  const others = Array.from({ length: 8 }, () => createSignaturePurge(database));
  const runs = await Promise.all(others.map((one) => one.begin(HOUR_MS)));
  expect(runs.filter((begun) => begun !== undefined)).toHaveLength(1);
  const again = await Promise.all(others.map((one) => one.begin(HOUR_MS)));
  expect(again.filter((begun) => begun !== undefined)).toHaveLength(0);

  const [due] = await run<{ minutes: number }>(
    "SELECT round(extract(epoch FROM due_at - now()) / 60)::int AS minutes FROM maintenance_tasks",
  );
  expect(due?.minutes).toBe(60);
});

test("the next run goes on where the last one ended", async () => {
  const purge = createSignaturePurge(database);
  await purge.end(384);
  expect(await purge.begin(HOUR_MS)).toEqual({ nextBlock: 384, blockCount: 0 });
});
