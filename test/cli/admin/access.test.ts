/**
 * Where the commands that administer take the server and the token from, and what they say
 * before anything is sent. Nothing listens at the URLs here.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { generateCredential } from "../../../src/signing/index.ts";
import { run, workspaceOfFile } from "../support/run.ts";

const { text: TOKEN } = generateCredential("tok");
const OPS_URL = "http://127.0.0.1:1";
const PUBLIC_URL = "http://127.0.0.1:2";

const workspace = workspaceOfFile();

/** Runs a command with this environment, in a directory without a server's files. */
async function list(env: NodeJS.ProcessEnv, ...args: string[]) {
  const result = await run(["producers", "list", ...args], { env, cwd: workspace.path });
  expect(result.stdout).toBe("");
  return result;
}

/** Makes a data directory as a server on its embedded database does. */
async function dataDirectory(name: string): Promise<string> {
  const directory = path.join(workspace.path, name);
  await mkdir(directory, { recursive: true });
  const lines = [
    `COUNTERSIGN_TOKEN=${TOKEN}`,
    `COUNTERSIGN_URL=${PUBLIC_URL}`,
    `COUNTERSIGN_OPS_URL=${OPS_URL}`,
  ];
  await workspace.write(path.join(name, "admin.env"), `${lines.join("\n")}\n`);
  return directory;
}

describe("before anything is sent", () => {
  const secret = generateCredential("sec").text;
  it.each([
    [{}, "COUNTERSIGN_TOKEN is not set, and there is no file /"],
    [{ COUNTERSIGN_TOKEN: TOKEN }, "COUNTERSIGN_OPS_URL is not set. It is the URL of the oper"],
    [
      { COUNTERSIGN_URL: OPS_URL, COUNTERSIGN_TOKEN: TOKEN.slice(0, -1) },
      "COUNTERSIGN_TOKEN is a Countersign token with a typo: its checksum is wrong.",
    ],
    [
      { COUNTERSIGN_URL: OPS_URL, COUNTERSIGN_TOKEN: secret },
      "COUNTERSIGN_TOKEN is a producer's secret (cs_sec_…), and must be a token (cs_tok_…).",
    ],
    [
      { COUNTERSIGN_URL: OPS_URL, COUNTERSIGN_TOKEN: "hunter2hunter2hunter2" },
      "COUNTERSIGN_TOKEN is no token of Countersign's, which begins with cs_tok_.",
    ],
    [
      { COUNTERSIGN_OPS_URL: "http://db.example.com:9090", COUNTERSIGN_TOKEN: TOKEN },
      "(ssh -L 9090:127.0.0.1:9090 HOST)",
    ],
    [
      { COUNTERSIGN_URL: "127.0.0.1:9090", COUNTERSIGN_TOKEN: TOKEN },
      "COUNTERSIGN_URL must begin with https://, or with http://",
    ],
  ])("%j is told", async (env, message) => {
    const { code, stderr } = await list(env);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).toContain(message);
    for (const text of [TOKEN, secret, "hunter2"]) expect(stderr).not.toContain(text);
  });

  it("a token as an option is refused, since others could read it", async () => {
    const { code, stderr } = await list({}, "--token", TOKEN);
    expect(code).toBe(2);
    expect(stderr).toContain("unknown option '--token'");
  });

  it.each([
    ["tokens", "revoke", TOKEN],
    ["tokens", "revoke", TOKEN.slice(0, -1)],
    ["producers", "revoke", "gold-bot", generateCredential("sec").text],
  ])("a whole credential in place of its id is told: %s %s", async (...args) => {
    const { code, stderr } = await run(args, { cwd: workspace.path });
    expect(code).toBe(2);
    expect(stderr).toMatch(/Give the id of the (token|secret)( \(\w{12}\))?, and not/);
    expect(stderr).not.toContain(args.at(-1));
  });
});

describe("the file of the local server", () => {
  it("gives what is not set, and is told", async () => {
    const DATA_DIR = await dataDirectory("local");
    const file = path.join(DATA_DIR, "admin.env");
    for (const env of [{ DATA_DIR }, { DATA_DIR, COUNTERSIGN_URL: `${PUBLIC_URL}/` }]) {
      const { code, stderr } = await list(env);
      expect(code).toBe(3);
      expect(stderr.split("\n")).toEqual([
        `countersign: using the token in ${file}`,
        expect.stringMatching(
          `^countersign: The server at ${OPS_URL} cannot be reached: .* See that it runs and that COUNTERSIGN_OPS_URL is right`,
        ),
        "",
      ]);
    }
  });

  it("is found under .countersign", async () => {
    await dataDirectory(path.join("clone", ".countersign"));
    const cwd = path.join(workspace.path, "clone");
    const { stderr } = await run(["audit", "list"], { cwd });
    expect(stderr).toContain("using the token in .countersign/admin.env");
  });

  it("gives its token to no other server", async () => {
    const DATA_DIR = await dataDirectory("local");
    for (const name of ["COUNTERSIGN_URL", "COUNTERSIGN_OPS_URL"]) {
      const { code, stderr } = await list({ DATA_DIR, [name]: "https://other.example.com" });
      expect(code).toBe(2);
      expect(stderr).toContain(`There is no token for ${name}: COUNTERSIGN_TOKEN is not set, and`);
    }
  });

  it("completes a token of one's own by where the server is", async () => {
    const DATA_DIR = await dataDirectory("local");
    const own = generateCredential("tok");
    const { code, stderr } = await list({ DATA_DIR, COUNTERSIGN_TOKEN: own.text });
    expect(code).toBe(3);
    expect(stderr).toContain(`using the server of ${DATA_DIR}/admin.env\n`);
    expect(stderr).toContain(`The server at ${OPS_URL} cannot be reached`);
  });
});

it("--admin-env-file has all of it, and what is set wins", async () => {
  const file = await workspace.write(
    "me.env",
    `COUNTERSIGN_TOKEN=${TOKEN}\nCOUNTERSIGN_OPS_URL=${OPS_URL}\n`,
  );
  const fromFile = await list({}, "--admin-env-file", file);
  expect([fromFile.code, fromFile.stderr]).toEqual([
    3,
    expect.stringContaining(`The server at ${OPS_URL} cannot be reached: `),
  ]);
  expect(fromFile.stderr).not.toContain("using");
  const set = await list({ COUNTERSIGN_OPS_URL: "http://127.0.0.1:3" }, "--admin-env-file", file);
  expect(set.stderr).toContain("The server at http://127.0.0.1:3 cannot be reached");
  const { code, stderr } = await list({}, "--admin-env-file", "/none.env");
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/^countersign: --admin-env-file \/none/),
  ]);
});
