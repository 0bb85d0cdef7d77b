import { describe, expect, test } from "vitest";
import { readableLine } from "../../../src/server/ops/readableLine.ts";

const COMMON = {
  time: "2026-11-22T14:49:08.972Z",
  service: "countersign",
  hostname: "host-1",
  pid: 17,
};

function line(entry: object): string {
  return readableLine(`${JSON.stringify({ ...COMMON, ...entry })}\n`);
}

describe("a line of the log", () => {
  test("has time, level, message and facts, and nothing that all lines have", () => {
    expect(line({ level: 30, status: 201, path: "/a b", err: { name: "E" }, msg: "request" })).toBe(
      '14:49:08.972Z INFO  request  status=201  path="/a b"  err={"name":"E"}\n',
    );
    expect(line({ level: 50, msg: "the store failed" })).toBe(
      "14:49:08.972Z ERROR the store failed\n",
    );
  });

  test("cannot steer the terminal, whoever wrote what is in it", () => {
    const shown = line({
      level: 30,
      "a\u001b[2J": "\u009b2J\u202e",
      path: "/\u001b]0;x\u0007\r\n",
      msg: "a\u001b[31mb\nc\u2028",
    });
    expect(shown).toMatch(/^[\x20-\x7e]+\n$/);
    expect(shown).toContain("a\\u{1b}[31mb\\u{a}c\\u{2028}");
  });

  test.each(["(node:1) Warning: x\n", "{\n", "17\n", "null\n", '{"a":1}\n'])(
    "that is none of the log's stays as it is: %j",
    (text) => {
      expect(readableLine(text)).toBe(text);
    },
  );
});
