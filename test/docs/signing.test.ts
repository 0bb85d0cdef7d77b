/**
 * Runs what docs/signing.md shows, so that nobody implements a client from an example
 * that is wrong.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { grpcError } from "../server/support/wire.ts";

const page = readFileSync(new URL("../../docs/signing.md", import.meta.url), "utf8");
const { vectors } = JSON.parse(
  readFileSync(new URL("../signing/vectors.json", import.meta.url), "utf8"),
);
const example = vectors[0];

const directory = mkdtempSync(join(tmpdir(), "countersign-docs-"));
afterAll(() => rmSync(directory, { recursive: true }));

function blocks(language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms");
  return [...page.matchAll(pattern)].map(([, text = ""]) => text);
}

function has(program: string, ...args: string[]): boolean {
  return spawnSync(program, args).status === 0;
}

test("the worked example is the first vector", () => {
  expect(example.name).toBe("worked_example");
  for (const value of [example.string_to_sign, example.signature, ...example.secrets]) {
    expect(page).toContain(value);
  }
  const [request = ""] = blocks("http");
  expect(request.endsWith(`\n\n${example.body_utf8}\n`)).toBe(true);
  expect(request).toContain(`\nContent-Length: ${Buffer.byteLength(example.body_utf8)}\n`);
  expect(request).toContain(`\nx-signature: ${example.signature}\n`);
});

test.skipIf(!has("bash", "--version") || !has("openssl", "version"))(
  "the commands of the worked example print what the page says (needs bash and openssl)",
  () => {
    const commands = blocks("bash");
    const outputs = blocks("output");
    expect(commands).toHaveLength(3);
    expect(outputs).toHaveLength(3);
    for (const [index, command] of commands.entries()) {
      const run = spawnSync("bash", ["-euc", command], { cwd: directory, encoding: "utf8" });
      expect(run.stderr).toBe("");
      expect(`${run.stdout.trim()}\n`).toBe(outputs[index]);
    }
  },
);

test.skipIf(!has("python3", "--version"))(
  "the Python code makes the signature of the example (needs python3)",
  () => {
    const [code = ""] = blocks("python");
    const call =
      "import json, sys\n" +
      "v = json.load(sys.stdin)\n" +
      "print(json.dumps(signature_headers(v['secrets'][0], v['producer_id'], v['endpoint'],\n" +
      "  v['body_utf8'].encode(), v['timestamp'])))\n";
    const run = spawnSync("python3", ["-c", `${code}\n${call}`], {
      input: JSON.stringify(example),
      encoding: "utf8",
    });
    expect(run.stderr).toBe("");
    expect(JSON.parse(run.stdout)).toEqual({
      "x-producer-id": example.producer_id,
      "x-timestamp": example.timestamp,
      "x-signature": example.signature,
    });
  },
);

test("the error details that the page shows are what it says", () => {
  const [details = ""] = blocks("base64");
  expect(details).not.toContain("=");
  const error = grpcError({ "grpc-status": "3", "grpc-status-details-bin": details.trim() });
  expect(error).toMatchObject({
    code: "invalid_argument",
    reason: "INVALID_SIGNAL",
    violations: [{ field: "signal.side", description: "is required" }],
  });
  expect(page).toContain(
    `is code 3 (\`${error?.code}\`), reason \`${error?.reason}\`, with one violation: \`signal.side\` \`is required\`.`,
  );
});

test("the page counts the vectors right", () => {
  expect(page).toContain(`\n${vectors.length} vectors passed\n`);
});
