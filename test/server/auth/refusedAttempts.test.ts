import { expect, test } from "vitest";
import type { RefusedAttempt } from "../../../src/access/index.ts";
import { createRefusedAttempts } from "../../../src/server/auth/refusedAttempts.ts";

const attempt: RefusedAttempt = {
  actor: { tokenId: "a", name: "ops" },
  action: "producer.create",
  producerId: "bot",
  tokenId: undefined,
  reason: "INVALID_REQUEST",
};

function begin(write: () => Promise<void> = async () => {}) {
  const written: RefusedAttempt[] = [];
  const failures: unknown[] = [];
  const time = { ms: 0 };
  const attempts = createRefusedAttempts({
    store: {
      async addRefusedAttempt(each) {
        written.push(each);
        await write();
      },
    },
    monotonicMs: () => time.ms,
    onFailure: (error) => failures.push(error),
  });
  return { attempts, written, failures, time };
}

test("writes one a minute of each token, action and reason", () => {
  const { attempts, written, time } = begin();
  attempts.add(attempt);
  attempts.add({ ...attempt, producerId: "another" });
  const others: RefusedAttempt[] = [
    { ...attempt, actor: { tokenId: "b", name: "ops" } },
    { ...attempt, action: "producer.update" },
    { ...attempt, reason: "NOT_FOUND" },
  ];
  for (const other of others) attempts.add(other);
  expect(written).toEqual([attempt, ...others]);
  time.ms = 59_999;
  attempts.add(attempt);
  expect(written).toHaveLength(4);
  time.ms = 60_000;
  attempts.add(attempt);
  expect(written).toHaveLength(5);
});

test("writes no more than so many, however many tokens there are", () => {
  const { attempts, written, time } = begin();
  const flood = () => {
    for (let at = 0; at < 1_100; at++) {
      attempts.add({ ...attempt, actor: { tokenId: `t${at}`, name: "ops" } });
    }
  };
  flood();
  flood();
  expect(written).toHaveLength(1_000);
  time.ms = 60_000;
  flood();
  expect(written).toHaveLength(2_000);
});

test("tells of what could not be written, and waits for it at the end", async () => {
  const write = Promise.withResolvers<void>();
  const { attempts, failures } = begin(() => write.promise);
  attempts.add(attempt);
  let isClosed = false;
  const closed = attempts.close().then(() => {
    isClosed = true;
  });
  await Promise.resolve();
  expect(isClosed).toBe(false);
  write.reject(new Error("away"));
  await closed;
  expect(failures).toEqual([new Error("away")]);
});
