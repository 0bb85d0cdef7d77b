/**
 * Proves that the linter's import rule bites: each import that the layout forbids is written
 * into a copy, and must be refused there, as is each form that an import can take. What no
 * linter rule refuses is looked for in the source itself.
 */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

/** Which folders of src each may import from, besides itself and gen. */
const DOMAINS_AND_LEAVES = ["signing", "signal", "alerts", "ingest", "access", "store"] as const;
const LAYOUT: Readonly<Record<string, readonly string[]>> = {
  signing: [],
  signal: [],
  alerts: [],
  client: ["signing", "signal", "alerts"],
  ingest: ["signal"],
  access: ["signing", "signal"],
  store: ["ingest", "access", "signal"],
  server: DOMAINS_AND_LEAVES,
  cli: [...DOMAINS_AND_LEAVES, "client", "server"],
};
const FOLDERS = Object.keys(LAYOUT);

/** Which wings of the server each may import from, besides itself. */
const WINGS: Readonly<Record<string, readonly string[]>> = {
  http: [],
  auth: ["http"],
  rpc: ["http", "auth"],
  services: ["http", "auth", "rpc"],
  rest: ["http", "auth"],
  config: ["http", "auth"],
  ops: ["http", "auth", "rest", "config"],
  workers: ["http", "auth", "config", "ops"],
};
const WING_NAMES = Object.keys(WINGS);

/** Folders outside of src that nothing published may depend on. */
const OUTSIDE = ["test", "bench", "examples"] as const;

const FORMS = {
  value: (path: string) => `import { thing } from "${path}";\nexport const used = thing;\n`,
  namespace: (path: string) => `import * as thing from "${path}";\nexport const used = thing;\n`,
  sideEffect: (path: string) => `import "${path}";\n`,
  type: (path: string) => `import type { Thing } from "${path}";\nexport type Used = Thing[];\n`,
  inlineType: (path: string) =>
    `import { type Thing, thing } from "${path}";\nexport const used: Thing = thing;\n`,
  reexport: (path: string) => `export { thing } from "${path}";\n`,
  typeReexport: (path: string) => `export type { Thing } from "${path}";\n`,
  reexportOfAll: (path: string) => `export * from "${path}";\n`,
  dynamic: (path: string) => `export const used = await import("${path}");\n`,
  typeOfImport: (path: string) => `export type Used = import("${path}").Thing;\n`,
} as const satisfies Record<string, (path: string) => string>;

let copy: string;
/** The rules that each file of the copy breaks, by its path there. */
let brokenRules: Map<string, Set<string>>;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "countersign-architecture-"));
  for (const file of ["biome.json", "layout.grit"])
    copyFileSync(join(ROOT, file), join(copy, file));
  for (const folder of FOLDERS) {
    for (const other of FOLDERS.filter((name) => name !== folder)) {
      write(probe(folder, other), FORMS.value(`../${other}/index.ts`));
      write(`src/${folder}/deep/${other}.ts`, FORMS.value(`../../${other}/deep/part.ts`));
    }
    for (const outside of OUTSIDE) {
      write(probe(folder, outside), FORMS.value(`../../${outside}/support/part.ts`));
    }
    write(probe(folder, "package"), FORMS.value("zod"));
    write(probe(folder, "gen"), FORMS.value("../../gen/signals/v1/signal_pb.ts"));
    write(probe(folder, "itself"), FORMS.value("./index.ts"));
    write(probe(folder, "ownPackage"), FORMS.value("countersign/client"));
    write(probe(folder, "clientPackage"), FORMS.value("countersign-client"));
    write(`src/${folder}/cycle1.ts`, FORMS.value("./cycle2.ts"));
    write(`src/${folder}/cycle2.ts`, FORMS.value("./cycle3.ts"));
    write(
      `src/${folder}/cycle3.ts`,
      'import { used } from "./cycle1.ts";\nexport const thing = used;\n',
    );
  }
  for (const wing of WING_NAMES) {
    for (const other of WING_NAMES.filter((name) => name !== wing)) {
      write(wingProbe(wing, other), FORMS.value(`../${other}/part.ts`));
    }
    pathsAbove(wing).forEach((path, index) => {
      write(wingProbe(wing, `above${index}`), FORMS.type(path));
    });
  }
  for (const [form, source] of Object.entries(FORMS)) {
    write(`src/signing/form-${form}.ts`, source("../client/index.ts"));
    write(`src/signing/astray-${form}.ts`, source("../signing/../client/part.ts"));
  }
  brokenRules = lint();
}, 60_000);

afterAll(() => rmSync(copy, { recursive: true, force: true }));

function probe(folder: string, other: string): string {
  return `src/${folder}/of-${other}.ts`;
}

function wingProbe(wing: string, other: string): string {
  return `src/server/${wing}/of-${other}.ts`;
}

function write(path: string, source: string): void {
  mkdirSync(dirname(join(copy, path)), { recursive: true });
  writeFileSync(join(copy, path), source);
}

/** The ways to name a file that stands above the wings. */
function pathsAbove(wing: string): string[] {
  return [
    "../signalServer.ts",
    "../signalServer.js",
    "./../signalServer.ts",
    `../${wing}/../signalServer.ts`,
    "../../server/signalServer.ts",
  ];
}

interface Report {
  readonly diagnostics: readonly {
    readonly severity: string;
    readonly category: string;
    readonly location: { readonly path: string };
  }[];
}

function lint(): Map<string, Set<string>> {
  const biome = join(ROOT, "node_modules", ".bin", "biome");
  const args = ["lint", "--vcs-enabled=false", "--max-diagnostics=none", "--reporter=json", "src"];
  const { stdout } = spawnSync(biome, args, { cwd: copy, encoding: "utf8", maxBuffer: 64 << 20 });
  const rules = new Map<string, Set<string>>();
  for (const { severity, category, location } of (JSON.parse(stdout) as Report).diagnostics) {
    if (severity !== "error") continue;
    const known = rules.get(location.path) ?? new Set();
    rules.set(location.path, known.add(category));
  }
  return rules;
}

function rulesBrokenBy(path: string): string[] {
  return [...(brokenRules.get(path) ?? [])];
}

/** The category of what layout.grit refuses. */
const FORBIDDEN = "plugin";

describe.each(FOLDERS)("src/%s", (folder) => {
  const allowed = LAYOUT[folder] ?? [];
  const forbidden = FOLDERS.filter((name) => name !== folder && !allowed.includes(name));

  test.each(forbidden)("may not import src/%s", (other) => {
    for (const path of [probe(folder, other), `src/${folder}/deep/${other}.ts`]) {
      expect(rulesBrokenBy(path), path).toContain(FORBIDDEN);
    }
  });

  test.each([...allowed, "gen", "package", "itself"])("may import %s", (other) => {
    expect(rulesBrokenBy(probe(folder, other))).toEqual([]);
  });

  test.each([...OUTSIDE, "ownPackage", "clientPackage"])("may not import from %s", (outside) => {
    expect(rulesBrokenBy(probe(folder, outside))).toContain(FORBIDDEN);
  });

  test("may not hold a cycle of imports", () => {
    for (const part of ["cycle1", "cycle2", "cycle3"]) {
      const path = `src/${folder}/${part}.ts`;
      expect(rulesBrokenBy(path), path).toContain("lint/suspicious/noImportCycles");
    }
  });
});

describe.each(WING_NAMES)("src/server/%s", (wing) => {
  const allowed = WINGS[wing] ?? [];
  const forbidden = WING_NAMES.filter((name) => name !== wing && !allowed.includes(name));

  test.each(forbidden)("may not import %s", (other) => {
    expect(rulesBrokenBy(wingProbe(wing, other))).toContain(FORBIDDEN);
  });

  test("may not import what puts the wings together", () => {
    for (const [index, path] of pathsAbove(wing).entries()) {
      expect(rulesBrokenBy(wingProbe(wing, `above${index}`)), path).toContain(FORBIDDEN);
    }
  });

  test.each([...allowed])("may import %s", (other) => {
    expect(rulesBrokenBy(wingProbe(wing, other))).toEqual([]);
  });
});

test.each(Object.keys(FORMS))("an import is refused in the form of a %s", (form) => {
  for (const path of [`src/signing/form-${form}.ts`, `src/signing/astray-${form}.ts`]) {
    expect(rulesBrokenBy(path), path).toContain(FORBIDDEN);
  }
});

test.each([
  ...Object.entries(LAYOUT).map(([folder, others]) => [`src/${folder}/`, others] as const),
  ...Object.entries(WINGS).map(([wing, others]) => [`src/server/${wing}/`, others] as const),
])("docs/architecture.md has what %s may import", (folder, others) => {
  const row = read("docs/architecture.md")
    .split("\n")
    .find((line) => line.startsWith(`| \`${folder}\` |`));
  const told = row?.split("|").at(-2)?.trim() as string;
  const named: Readonly<Record<string, readonly string[]>> = {
    none: [],
    "nothing of ours": [],
    "any of them": FOLDERS.filter((name) => name !== "cli"),
  };
  expect((named[told] ?? told.split(", ")).toSorted()).toEqual(others.toSorted());
});

describe("the source", () => {
  const paths = globSync("src/**/*.ts", { cwd: ROOT }).map((path) => path.replaceAll("\\", "/"));
  const sources = new Map(paths.map((path) => [path, withoutComments(read(path))]));

  function filesWith(pattern: RegExp): string[] {
    return [...sources].filter(([, source]) => pattern.test(source)).map(([path]) => path);
  }

  test("is all in the folders of the layout", () => {
    expect(sources.size).toBeGreaterThan(FOLDERS.length);
    const folders = new Set(paths.map((path) => path.split("/")[1]));
    expect([...folders].filter((folder) => !FOLDERS.includes(folder as string))).toEqual([]);
  });

  test("of the server is in its wings, but for what puts them together", () => {
    const inServer = paths.filter((path) => path.startsWith("src/server/"));
    const wings = new Set(inServer.map((path) => path.split("/").slice(2, -1).join("/")));
    expect([...wings].sort()).toEqual(["", ...WING_NAMES.toSorted()]);
  });

  test("reads the environment in its two configurations and the command line only", () => {
    const reading = filesWith(
      /\bprocess\s*\??\.\s*env\b|\bprocess\s*(\?\.)?\[|from "(node:)?process"|=\s*(globalThis\.)?process\s*;/,
    );
    const allowed = /^src\/(server\/config\/config\.ts|client\/config\.ts|cli\/.+)$/;
    expect(reading.filter((path) => !allowed.test(path))).toEqual([]);
    expect(reading).toEqual(
      expect.arrayContaining(["src/client/config.ts", "src/server/config/config.ts"]),
    );
  });

  test.each<readonly [string, RegExp, string]>([
    [
      "require of a path",
      /\brequire(\.resolve)?\s*\(\s*["'`][./]/,
      'require("../client/index.ts")',
    ],
    ["an import() of a computed path", /\bimport\s*\(\s*[^"\s]/, "await import(path)"],
  ])("imports nothing by %s, which no linter rule refuses", (_, pattern, example) => {
    expect(example).toMatch(pattern);
    expect(filesWith(pattern)).toEqual([]);
  });
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The source without the lines that are comments. */
function withoutComments(source: string): string {
  return source.replaceAll(/^\s*(\/?\*|\/\/).*$/gm, "");
}
