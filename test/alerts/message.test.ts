import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALERT_KINDS, cutText } from "../../src/alerts/index.ts";
import { telegramMessage } from "../../src/alerts/telegram.ts";
import type { AlertKind } from "../../src/client/index.ts";
import { parseTelegramHtml } from "../support/telegram.ts";
import { alertOf } from "./support.ts";

/** Texts that are long, broken, and full of what markup is made of. */
const anyText = fc
  .tuple(
    fc.array(
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.constantFrom(
          "<",
          ">",
          "&",
          "&amp;",
          "&#65;",
          "<b>",
          "</i>",
          "😀",
          "\ud800",
          "\udc00",
          "\n",
        ),
      ),
    ),
    fc.nat({ max: 3_000 }),
  )
  .map(([parts, times]) => parts.join("").repeat(times).slice(0, 9_000));
const anyKind = fc.constantFrom(...(Object.keys(ALERT_KINDS) as AlertKind[]));

describe("a message of Telegram", () => {
  it("is well-formed, fits, and shows the text, whatever that is", () => {
    const anyHost = fc.option(anyText, { nil: undefined });
    fc.assert(
      fc.property(anyText, anyHost, anyKind, (text, host, kind) => {
        const { html, plain } = telegramMessage(alertOf(text, { kind }), host);
        expect(html.isWellFormed() && plain.isWellFormed()).toBe(true);
        const shown = parseTelegramHtml(html);
        expect(shown).toBe(plain);
        expect(shown.length).toBeLessThanOrEqual(4_096);
        if (text.length <= 3_900) expect(shown).toContain(`\n\n${text.toWellFormed()}\n\n`);
        // In between, it depends on the title and the host.
        if (text.length > 4_096) expect(shown).toMatch(/… \[cut\]\n\n2025-10-25 14:30:45 UTC$/);
      }),
      { numRuns: 300 },
    );
  });

  it("is as long as it may be when it is cut", () => {
    for (const text of ["x".repeat(5_000), "&".repeat(5_000)]) {
      expect(parseTelegramHtml(telegramMessage(alertOf(text), "host").html)).toHaveLength(4_096);
    }
  });

  it("has a time even if the clock gave none", () => {
    const alert = alertOf("x", { time: new Date(Number.NaN) });
    expect(telegramMessage(alert, undefined).plain).toContain("at an unknown time");
  });
});

describe("a cut", () => {
  it("leaves a text that fits as it is", () => {
    expect(cutText("x".repeat(20), 20)).toBe("x".repeat(20));
    expect(cutText("x".repeat(21), 20)).toBe(`${"x".repeat(13)}… [cut]`);
  });

  it("goes through no pair, and marks what it leaves out", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", minLength: 30 }),
        fc.integer({ min: 8, max: 30 }),
        (text, max) => {
          const cut = cutText(text, max);
          expect(cut.length).toBeLessThanOrEqual(max);
          expect(cut).not.toContain("\ufffd");
          const head = cut.replace(/… \[cut\]$/, "");
          expect(text.startsWith(head)).toBe(true);
          expect(cut.length).toBeGreaterThanOrEqual(max - 1);
        },
      ),
    );
  });
});
