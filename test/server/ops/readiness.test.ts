import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, onTestFinished, test } from "vitest";
import { watchDatabase } from "../../../src/server/ops/readiness.ts";
import { openDatabase } from "../../../src/store/index.ts";
import { createTestDatabase, runOnServer, silentLog } from "../../support/postgres.ts";

test("a database that takes writes again is seen to, though its open connections do not", async () => {
  const { url, name, drop } = await createTestDatabase();
  onTestFinished(drop);
  await runOnServer(url, `ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  // With one connection, every look is on the one that stays read-only.
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  onTestFinished(() => database.close(100));
  const monotonicMs = () => performance.now();
  const watch = watchDatabase({ database, monotonicMs, log: silentLog });
  onTestFinished(() => watch.close());
  expect(await watch.isReady()).toBe(false);
  expect(watch.problems).toEqual(new Set(["read_only"]));

  const reset = `ALTER DATABASE ${name} RESET default_transaction_read_only`;
  await runOnServer(inject("postgresUrl"), reset);
  // Nobody asks: it looks by itself.
  const deadlineMs = performance.now() + 20_000;
  while (watch.problems.size > 0) {
    if (performance.now() > deadlineMs) throw new Error("It stays not ready.");
    await sleep(50);
  }
  expect(await watch.isReady()).toBe(true);
});
