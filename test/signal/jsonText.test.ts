/** JSON text is read strictly: no name may stand twice in an object, however it is written. */
import { expect, test } from "vitest";
import { parseJsonStrictly } from "../../src/signal/index.ts";

const parse = (text: string) => parseJsonStrictly(Buffer.from(text));

test.each([
  '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}',
  '{"a":"a","b":"a"}',
  '{"a":["a","a",{"a":[]}],"b":{}}',
  '{"a":"\\"a\\":1,\\"a\\":2"}',
  '{"\\\\":1,"\\"":2}',
  '["a","a"]',
  '{"__proto__":1,"constructor":2}',
  '"a"',
  "{}",
])("takes %s", (text) => {
  expect(parse(text)).toEqual(JSON.parse(text));
});

test.each([
  '{"a":1,"a":1}',
  '{"a":1,"b":2,"\\u0061":3}',
  '{"x":[{"a":{},"a":[]}]}',
  '{"__proto__":1,"__proto__":1}',
  '{"":1,"":2}',
  '{"a":{"b":1},"c":[1,[2]],"a":1}',
  '{"\\"":1,"\\u0022":2}',
])("does not take %s", (text) => {
  expect(() => parse(text)).toThrow("the same name twice");
});

test("takes the greatest body that there is", () => {
  const text = `[${'{"a":"\\\\\\"","b":[1,{}]},'.repeat(2_700)}{}]`;
  expect(parse(text)).toEqual(JSON.parse(text));
});
