import { expect, test } from "vitest";
import { createPool } from "../../../src/server/http/pool.ts";

/** A pool whose places have names, and the names of those that were displaced. */
function namedPool(places: number) {
  const pool = createPool(places);
  const displaced: string[] = [];
  return {
    displaced,
    enter: (address: string, name: string) => pool.enter(address, () => displaced.push(name)),
  };
}

test("nobody is displaced while there is room, and a place that is left is free", () => {
  const { enter, displaced } = namedPool(3);
  enter("a", "1");
  const second = enter("a", "2");
  enter("a", "3");
  second.leave();
  second.leave();
  second.prove();
  enter("a", "4");
  expect(displaced).toEqual([]);
  enter("a", "5");
  expect(displaced).toEqual(["1"]);
});

test("a newcomer displaces the oldest of the address that holds most", () => {
  const { enter, displaced } = namedPool(4);
  enter("small", "honest");
  enter("large", "1");
  enter("large", "2");
  enter("large", "3");
  enter("small", "another");
  enter("third", "x");
  expect(displaced).toEqual(["1", "honest"]);
});

test("those who have proven nothing go first, then the one whose proof is longest ago", () => {
  const { enter, displaced } = namedPool(3);
  const first = enter("large", "1");
  const second = enter("large", "2");
  first.prove();
  second.prove();
  enter("small", "stranger");
  enter("small", "newcomer").prove();
  expect(displaced).toEqual(["stranger"]);
  first.prove();
  enter("small", "last");
  expect(displaced).toEqual(["stranger", "2"]);
});

test("who is displaced is out, whatever comes of its place later", () => {
  const { enter, displaced } = namedPool(1);
  const first = enter("a", "1");
  enter("a", "2");
  first.prove();
  first.leave();
  enter("a", "3");
  expect(displaced).toEqual(["1", "2"]);
});

test("thousands of addresses are told apart, and none is remembered when it holds nothing", () => {
  const { enter, displaced } = namedPool(1_000);
  for (let round = 0; round < 3; round++) {
    const places = Array.from({ length: 1_000 }, (_, index) => enter(`${index}`, "x"));
    for (const place of places) place.leave();
  }
  expect(displaced).toEqual([]);
});
