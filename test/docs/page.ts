/** The pages of the documentation, taken apart for the tests that hold them against the code. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");

/** Every page, by its path from the root of the repository. */
export const PAGES: readonly string[] = globSync(
  ["*.md", "{docs,bench,examples}/**/*.md", "packages/*/*.md"],
  {
    cwd: ROOT,
  },
).map((path) => path.replaceAll("\\", "/"));

/** A page's text. @param path from the root of the repository. */
export function pageText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The only block of code in a language that holds a text. */
export function codeBlock(page: string, language: string, text: string): string {
  const pattern = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms");
  const found = [...page.matchAll(pattern)].filter(([, code = ""]) => code.includes(text));
  expect(found, `blocks with ${text}`).toHaveLength(1);
  return found[0]?.[1] ?? "";
}

/** The tables whose first title this is, as the cells of their rows. */
export function tables(page: string, title: string): string[][][] {
  return page
    .split(`\n| ${title} |`)
    .slice(1)
    .map((text) => text.split("\n\n")[0]?.split("\n").slice(2) ?? [])
    .map((rows) =>
      rows.map((row) =>
        row
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
    );
}

/** The only table whose first title this is. */
export function table(page: string, title: string): string[][] {
  const [found = [], ...others] = tables(page, title);
  expect(others, `other tables under ${title}`).toEqual([]);
  expect(found.length, `rows under ${title}`).toBeGreaterThan(1);
  return found;
}

/** What stands in quotes of code in a text, piece by piece. */
export function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, piece = ""]) => piece);
}

/** What GitHub makes an anchor of: each heading outside of blocks of code. */
export function anchors(page: string): string[] {
  const prose = page.replaceAll(/^```.*?^```$/gms, "");
  return [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
