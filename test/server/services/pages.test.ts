import { expect, test } from "vitest";
import { nextPageToken, readPage } from "../../../src/server/services/pages.ts";

const LIST = ["producers"];
const token = nextPageToken({ items: [], next: "bot-7" }, LIST);

test("begins where the page before ended", () => {
  expect(readPage({ pageSize: 7, pageToken: token }, LIST)).toEqual({
    ok: true,
    value: { size: 7, after: "bot-7" },
  });
});

test("begins at the start without a token, with 100 items unless another number is asked for", () => {
  expect(readPage({ pageSize: 0, pageToken: "" }, LIST)).toEqual({
    ok: true,
    value: { size: 100, after: undefined },
  });
  expect(readPage({ pageSize: 1_000, pageToken: "" }, LIST)).toMatchObject({
    value: { size: 1_000 },
  });
});

test("has no token at the end", () => {
  expect(nextPageToken({ items: [], next: undefined }, LIST)).toBe("");
});

test.each([
  ["of another list", nextPageToken({ items: [], next: "bot-7" }, ["tokens"])],
  [
    "of the same list with another filter",
    nextPageToken({ items: [], next: "bot-7" }, [...LIST, "x"]),
  ],
  ["that is no base64", "?"],
  ["that is cut", token.slice(0, -2)],
  ["with more behind it", `${token}AA`],
  ["with a changed character", token.replace(/^./, (first) => (first === "A" ? "B" : "A"))],
  ["that is only a position", Buffer.from("bot-7").toString("base64url")],
  ["in another form of base64", `${token}=`],
])("takes no token %s", (_, pageToken) => {
  expect(readPage({ pageSize: 1, pageToken }, LIST)).toMatchObject({
    ok: false,
    refusal: { reason: "INVALID_REQUEST", violations: [{ field: "page_token" }] },
  });
});

test("names all that is wrong at once", () => {
  for (const pageSize of [-1, 1_001]) {
    const result = readPage({ pageSize, pageToken: "x" }, LIST, [
      { field: "action", description: "must be one" },
    ]);
    expect(result).toMatchObject({
      refusal: {
        violations: [{ field: "action" }, { field: "page_size" }, { field: "page_token" }],
      },
    });
  }
});
