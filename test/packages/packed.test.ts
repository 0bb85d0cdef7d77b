/** The packages as others install them: what is packed is enough, and no more than it should be. */
import { globSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import server from "../../package.json" with { type: "json" };
import client from "../../packages/client/package.json" with { type: "json" };
import { ROOT, run } from "../interop/support/command.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { NPM_TIMEOUT_MS } from "./npm.ts";

let dir: string;
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase("empty");
  dir = await mkdtemp(join(tmpdir(), "countersign-package-"));
  const which = ["--workspaces", "--include-workspace-root"];
  const args = ["pack", "--silent", "--pack-destination", dir, ...which];
  const packed = await run("npm", args, { timeoutMs: NPM_TIMEOUT_MS });
  expect(packed.code, packed.stdout + packed.stderr).toBe(0);
  for (const { name, version } of [server, client]) {
    await mkdir(home(name), { recursive: true });
    const tarball = join(dir, `${name}-${version}.tgz`);
    await run("tar", ["-xzf", tarball, "-C", home(name), "--strip-components=1"]);
    await symlink(join(ROOT, "node_modules"), join(home(name), "node_modules"));
  }
}, NPM_TIMEOUT_MS);

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
  await database.drop();
});

/** Where a package is installed. */
function home(name: string): string {
  return join(dir, "node_modules", name);
}

/** The files of a package, by their paths in it. */
function filesOf(name: string): string[] {
  return globSync("**", { cwd: home(name), exclude: ["node_modules"], withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(home(name).length + 1));
}

it("come with one version, of themselves and of what they need", () => {
  expect(client.version).toBe(server.version);
  expect(client.license).toBe(server.license);
  expect(server.dependencies).toMatchObject(client.dependencies);
});

it.each([server, client])(
  "$name ships what it was compiled to, with no maps to what is not there",
  ({ name }) => {
    const files = filesOf(name);
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "package.json"]));
    expect(
      files.filter((file) => /\.map$|(?<!\.d)\.ts$|\.test\./.test(file) && /^dist/.test(file)),
    ).toEqual([]);
    const urls = files.filter((file) => read(name, file).includes("# sourceMappingURL="));
    expect(urls).toEqual([]);
  },
);

function read(name: string, file: string): string {
  return readFileSync(join(home(name), file), "utf8");
}

describe("countersign-client", () => {
  it("holds the client and nothing of the server", () => {
    const folders = new Set(
      filesOf(client.name).map((file) => /^dist\/(src\/\w+|gen)\//.exec(file)?.[1] ?? file),
    );
    expect([...folders].sort()).toEqual(
      ["LICENSE", "README.md", "gen", "package.json"].concat([
        "src/alerts",
        "src/client",
        "src/signal",
        "src/signing",
      ]),
    );
  });

  it("depends on what its code and its types import, and on nothing else", () => {
    const code = filesOf(client.name)
      .filter((file) => file.startsWith("dist/"))
      .map((file) => withoutComments(read(client.name, file)));
    const imports = code.flatMap((text) => [
      ...text.matchAll(/\b(?:from\s*|import\s*\(?\s*)"((?:@[^/"]+\/)?[^./"][^/"]*)/g),
    ]);
    const packages = new Set(
      imports.map(([, name = ""]) => name).filter((name) => !isBuiltin(name)),
    );
    const declared = { ...client.dependencies, ...client.peerDependencies };
    expect([...packages].sort()).toEqual(Object.keys(declared).sort());
  });

  it("loads what only some bots install from its own entry alone", async () => {
    const program = join(dir, "loaded.mjs");
    await writeFile(
      program,
      `import { registerHooks } from "node:module";
       registerHooks({
         resolve(name, context, next) {
           if (name.startsWith("@grpc/")) throw new Error("not installed: " + name);
           return next(name, context);
         },
       });
       await import("countersign-client");
       await import("countersign-client/proto");
       await import("countersign-client/signing");
       await import("countersign-client/grpc-js").catch((error) => console.log(error.message));`,
    );
    expect(await run(process.execPath, [program])).toEqual({
      code: 0,
      stdout: "not installed: @grpc/grpc-js\n",
      stderr: "",
    });
  });
});

/** The text without its comments, which show imports of programs. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*.*?\*\/|^\s*\/\/[^\n]*$/gms, "");
}

it.each([
  ["countersign", "countersign/client", true],
  ["countersign-client", "countersign-client", false],
  ["countersign-client", "countersign-client/client", false],
])("%s exports the client as %s, the signing functions and the protos", async (...row) => {
  const [name, entry, hasInterceptorOfGrpc] = row;
  const program = join(dir, "program.mjs");
  await writeFile(
    program,
    `import * as client from "${entry}";
     import { createSignalClient, createSigningInterceptor } from "${entry}";
     import { createGrpcSigningInterceptor } from "${name}/grpc-js";
     import { IngestService } from "${name}/proto";
     import { Secret, signatureHeaders } from "${name}/signing";
     import packageJson from "${name}/package.json" with { type: "json" };
     const all = [createSignalClient, createSigningInterceptor, createGrpcSigningInterceptor];
     const types = [...all, Secret, signatureHeaders].map((each) => typeof each);
     console.log(new Set(types), IngestService.typeName, packageJson.name);
     console.log(client.createGrpcSigningInterceptor === createGrpcSigningInterceptor);`,
  );
  const { code, stdout, stderr } = await run(process.execPath, [program]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toBe(
    `Set(1) { 'function' } signals.v1.IngestService ${name}\n${hasInterceptorOfGrpc}\n`,
  );
});

it("countersign has a command line that finds its migrations", async () => {
  const main = join(home("countersign"), server.bin.countersign);
  const env = { DATABASE_URL: database.url };
  const { code, stderr } = await run(process.execPath, [main, "migrate", "up"], { env });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const status = await run(process.execPath, [main, "migrate", "status", "--json"], { env });
  expect(status.stdout).toContain("0003_ingest_signals");
});
