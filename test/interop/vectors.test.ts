/**
 * Runs the independent implementation in Python over the same vectors, and over spoilt
 * ones, so that its "passed" means something.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";

const CHECKER = fileURLToPath(new URL("check_vectors.py", import.meta.url));
const VECTORS = fileURLToPath(new URL("../signing/vectors.json", import.meta.url));
const hasPython = spawnSync("python3", ["--version"]).status === 0;

const directory = mkdtempSync(join(tmpdir(), "countersign-vectors-"));
afterAll(() => rmSync(directory, { recursive: true }));

const SKIPPED =
  "SKIPPED: python3 is not on the PATH, so the vectors were checked by one program only";

if (!hasPython) {
  test(SKIPPED, (context) => {
    process.stderr.write(`${SKIPPED}\n`);
    context.skip(SKIPPED);
  });
}

describe.runIf(hasPython)("the checker in Python", () => {
  function check(...args: string[]) {
    return spawnSync("python3", [CHECKER, ...args], { encoding: "utf8" });
  }

  test("agrees with every vector", () => {
    const count = JSON.parse(readFileSync(VECTORS, "utf8")).vectors.length;
    const run = check();
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(`${count} vectors passed\n`);
    expect(run.status).toBe(0);
  });

  test.each([
    ["signature", (text: string) => text.replace("A", "B").replace("a", "b")],
    ["string_to_sign", (text: string) => `${text}\n`],
    ["expected", () => "invalid"],
    ["unix_ns", () => "0"],
  ])("reports a vector whose %s is wrong", (field, spoil) => {
    const document = JSON.parse(readFileSync(VECTORS, "utf8"));
    document.vectors[0][field] = spoil(document.vectors[0][field]);
    const path = join(directory, `${field}.json`);
    writeFileSync(path, JSON.stringify(document));
    const run = check(path);
    expect(run.status).toBe(1);
    expect(run.stdout).toBe("");
    expect(run.stderr).toContain(`${document.vectors[0].name}: `);
  });

  test("does not pass an empty list", () => {
    const path = join(directory, "empty.json");
    writeFileSync(path, JSON.stringify({ vectors: [] }));
    expect(check(path).status).toBe(1);
  });
});
