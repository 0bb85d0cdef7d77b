/**
 * Proves that the linter's import rule bites: each import that the layout forbids is
 * written into a copy, in every form that an import can take, and must be refused there.
 * What no linter rule refuses is looked for in the source itself.
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
const LAYOUT = {
  signing: [],
  signal: [],
  alerts: [],
  client: ["signing", "signal", "alerts"],
  ingest: ["signal"],
  store: ["ingest", "signal"],
  server: ["ingest", "store", "signing", "signal", "alerts"],
  cli: ["signing", "signal", "alerts", "client", "ingest", "store", "server"],
} as const satisfies Record<string, readonly string[]>;

type Folder = keyof typeof LAYOUT;
const FOLDERS = Object.keys(LAYOUT) as Folder[];

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
} as const satisfies Record<string, (path: string) => string>;

type Form = keyof typeof FORMS;
const FORM_NAMES = Object.keys(FORMS) as Form[];

let copy: string;
/** The rules that each file of the copy breaks, by its path there. */
let brokenRules: Map<string, Set<string>>;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "countersign-architecture-"));
  copyFileSync(join(ROOT, "biome.json"), join(copy, "biome.json"));
  for (const folder of FOLDERS) {
    for (const other of FOLDERS.filter((name) => name !== folder)) {
      for (const form of FORM_NAMES) {
        write(probe(folder, form, other), FORMS[form](`../${other}/index.ts`));
      }
      write(`src/${folder}/deep/value-${other}.ts`, FORMS.value(`../../${other}/deep/part.ts`));
      write(`src/${folder}/astray-${other}.ts`, FORMS.value(`../${folder}/../${other}/part.ts`));
    }
    for (const outside of OUTSIDE) {
      write(probe(folder, "value", outside), FORMS.value(`../../${outside}/support/part.ts`));
    }
    write(probe(folder, "value", "gen"), FORMS.value("../../gen/signals/v1/signal_pb.ts"));
    write(probe(folder, "type", "gen"), FORMS.type("../../gen/signals/v1/signal_pb.ts"));
    write(probe(folder, "value", "package"), FORMS.value("zod"));
    write(probe(folder, "value", "itself"), FORMS.value("./index.ts"));
    write(`src/${folder}/cycle1.ts`, FORMS.value("./cycle2.ts"));
    write(`src/${folder}/cycle2.ts`, FORMS.value("./cycle3.ts"));
    write(
      `src/${folder}/cycle3.ts`,
      'import { used } from "./cycle1.ts";\nexport const thing = used;\n',
    );
  }
  brokenRules = lint();
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

function probe(folder: string, form: Form, other: string): string {
  return `src/${folder}/${form}-${other}.ts`;
}

function write(path: string, source: string): void {
  mkdirSync(dirname(join(copy, path)), { recursive: true });
  writeFileSync(join(copy, path), source);
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

describe.each(FOLDERS)("src/%s", (folder) => {
  const allowed: readonly string[] = LAYOUT[folder];
  const forbidden = FOLDERS.filter((name) => name !== folder && !allowed.includes(name));

  test.each(forbidden)("may not import src/%s in any form", (other) => {
    const paths = FORM_NAMES.map((form) => probe(folder, form, other));
    paths.push(`src/${folder}/deep/value-${other}.ts`, `src/${folder}/astray-${other}.ts`);
    for (const path of paths) {
      expect(rulesBrokenBy(path), path).toContain("lint/style/noRestrictedImports");
    }
  });

  test.each(allowed)("may import src/%s in every form", (other) => {
    for (const form of FORM_NAMES) {
      const path = probe(folder, form, other);
      expect(rulesBrokenBy(path), path).not.toContain("lint/style/noRestrictedImports");
    }
    expect(rulesBrokenBy(probe(folder, "value", other))).toEqual([]);
    expect(rulesBrokenBy(probe(folder, "type", other))).toEqual([]);
  });

  test("may import gen, packages and itself", () => {
    const paths = [
      probe(folder, "value", "gen"),
      probe(folder, "type", "gen"),
      probe(folder, "value", "package"),
      probe(folder, "value", "itself"),
    ];
    for (const path of paths) expect(rulesBrokenBy(path), path).toEqual([]);
  });

  test.each(OUTSIDE)("may not import from %s/", (outside) => {
    expect(rulesBrokenBy(probe(folder, "value", outside))).toContain(
      "lint/style/noRestrictedImports",
    );
  });

  test("may not hold a cycle of imports", () => {
    for (const part of ["cycle1", "cycle2", "cycle3"]) {
      const path = `src/${folder}/${part}.ts`;
      expect(rulesBrokenBy(path), path).toContain("lint/suspicious/noImportCycles");
    }
  });
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
    expect([...folders].filter((folder) => !FOLDERS.includes(folder as Folder))).toEqual([]);
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
    [
      "an import() within a type",
      /[:<|&=(,[]\s*(typeof\s+)?import\(\s*"[^"]*"\s*\)\s*\./,
      'let thing: import("../client/index.ts").Thing;',
    ],
    ["an import() of a computed path", /\bimport\s*\(\s*[^"\s]/, "await import(path)"],
    [
      "a path to what is not published",
      /["'`](\.\.\/)+(test|bench|examples)\//,
      'from "../../test/support/signals.ts"',
    ],
    [
      "the name of its own package",
      /(from|import)\s*\(?\s*"countersign(\/[^"]*)?"/,
      'from "countersign/client"',
    ],
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
