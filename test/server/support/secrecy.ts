import { expect } from "vitest";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";

/** What no answer and no log line may show: a stack, SQL, or the values of the test's secrets. */
const STACK = /\bat (?:async )?[\w.<>[\] ]* ?\(?(?:file:|node:|\/)[^\s)]*:\d+:\d+/;
const SQL = /\b(?:SELECT\s.*\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|unnest\()/i;

/**
 * Expects that a text, of an answer or of the log, gives nothing away.
 *
 * @param secrets that are looked for besides those that every test has.
 */
export function expectNoLeak(
  text: string,
  databaseUrl: string,
  secrets: readonly string[] = [],
): void {
  const password = new URL(databaseUrl).password;
  for (const secret of [TEST_SECRET, TEST_MASTER_KEY, password, ...secrets]) {
    if (secret !== "") expect(text).not.toContain(secret);
  }
  expect(text).not.toMatch(STACK);
  expect(text).not.toMatch(SQL);
}
