import { expect, test } from "vitest";
import { nextPageToken, readPage } from "../../../src/server/services/pages.ts";

const isPosition = (text: string) => /^bot-[0-9]$/.test(text);

test("begins where the page before ended", () => {
  const pageToken = nextPageToken({ items: [], next: "bot-7" });
  expect(readPage({ pageSize: 7, pageToken }, isPosition)).toEqual({
    ok: true,
    value: { size: 7, after: "bot-7" },
  });
});

test("begins at the start without a token, with 100 items unless another number is asked for", () => {
  expect(readPage({ pageSize: 0, pageToken: "" }, isPosition)).toEqual({
    ok: true,
    value: { size: 100, after: undefined },
  });
  expect(readPage({ pageSize: 1_000, pageToken: "" }, isPosition)).toMatchObject({
    value: { size: 1_000 },
  });
});

test("has no token at the end", () => {
  expect(nextPageToken({ items: [], next: undefined })).toBe("");
});

test("names all that is wrong at once", () => {
  for (const pageSize of [-1, 1_001]) {
    const result = readPage({ pageSize, pageToken: "bot-10" }, isPosition, [
      { field: "action", description: "must be one" },
    ]);
    expect(result).toMatchObject({
      refusal: {
        reason: "INVALID_REQUEST",
        violations: [{ field: "action" }, { field: "page_size" }, { field: "page_token" }],
      },
    });
  }
});
