/** A page leads to what is there: other pages, headings in them, and files of the repository. */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { anchors, PAGES, pageText } from "./page.ts";

const ROOT = join(import.meta.dirname, "..", "..");
/** Pages that name files of the source, which move. */
const PAGES_OF_PATHS = ["docs/architecture.md", "CONTRIBUTING.md"];

test("every page is looked at", () => {
  expect(PAGES).toEqual(expect.arrayContaining(["README.md", "docs/api.md", ...PAGES_OF_PATHS]));
});

describe.each(PAGES)("%s", (page) => {
  const text = pageText(page);

  test("has links that lead to a file and a heading in it", () => {
    for (const [link, target = "", anchor] of text.matchAll(
      /\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)/g,
    )) {
      const path = target === "" ? page : join(dirname(page), target);
      expect(existsSync(join(ROOT, path)), link).toBe(true);
      if (anchor !== undefined) expect(anchors(pageText(path)), link).toContain(anchor);
    }
  });

  test("keeps the npx of Node.js 20 from taking --env-file for its own", () => {
    const commands = text.replaceAll("\\\n", " ");
    expect(commands).not.toMatch(/npx countersign [^|`\n]*--env-file/);
  });

  test("has no two headings of one name, since a link leads to the first", () => {
    const headings = anchors(text);
    // The changelog has the same headings in each version.
    if (page !== "CHANGELOG.md") expect(headings).toEqual([...new Set(headings)]);
  });
});

describe.each(PAGES_OF_PATHS)("%s", (page) => {
  test("names paths that are there", () => {
    const paths = [
      ...pageText(page).matchAll(/`((?:src|test|docs|proto|examples|bench|\.ci)\/[^`\s*]*)`/g),
    ].map(([, path = ""]) => path);
    expect(paths.length).toBeGreaterThan(10);
    for (const path of paths) {
      expect(existsSync(join(ROOT, path)), path).toBe(true);
      expect(statSync(join(ROOT, path)).isDirectory(), path).toBe(path.endsWith("/"));
    }
  });
});

test("the scripts that pages tell of are in package.json", () => {
  const { scripts } = JSON.parse(pageText("package.json"));
  const told = PAGES.flatMap((page) => [
    ...pageText(page).matchAll(/npm run (?:-s )?([\w:]+)|npm (start|test)\b/g),
  ]);
  expect(told.length).toBeGreaterThan(10);
  for (const [command, script = "", ofNpm = script] of told) {
    expect(Object.keys(scripts), command).toContain(ofNpm);
  }
});
