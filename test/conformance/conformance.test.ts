/**
 * The same requests to the router and to the protocol library as it comes, with the same
 * domain behind both: the answers are the same, but for the differences that are meant.
 */
import { beforeAll, describe, expect, test, vi } from "vitest";
import { DIFFERENCES, type Difference, type DifferenceName } from "./differences.ts";
import { ROWS } from "./requests/all.ts";
import { BROKEN_OFF, type HttpVersion, sendHttp1, sendHttp2 } from "./support/client.ts";
import { type Facet, type Facets, facetsOf } from "./support/facets.ts";
import { OWN_REQUEST_ID, type Row } from "./support/row.ts";
import { type Compared, startPlainServer, startRouterServer } from "./support/servers.ts";

/** How many requests are under way at once. */
const CONCURRENCY = 12;
/** How long an answer may take, in milliseconds, and one of the library that is not to come. */
const PATIENCE_MS = 20_000;
const HOPELESS_MS = 1_000;
/** Where the library gives no answer at all. */
const UNANSWERED: DifferenceName = "half a character";
/** The difference that every answer shows. */
const EVERYWHERE: DifferenceName = "request id";
const NAMES = Object.keys(DIFFERENCES) as readonly DifferenceName[];
const TABLE: Readonly<Record<DifferenceName, Difference>> = DIFFERENCES;

/** A request over one version of HTTP. */
interface Case {
  readonly name: string;
  readonly row: Row;
  readonly version: HttpVersion;
}

/** Both answers to a request. */
interface Pair {
  readonly here: Facets;
  readonly there: Facets;
}

const CASES: readonly Case[] = ROWS.flatMap((row) =>
  row.versions.map((version) => ({ name: `HTTP/${version}, ${row.name}`, row, version })),
);
const pairs = new Map<Case, Pair>();

beforeAll(async () => {
  // The library prints what it cannot answer.
  const silenced = vi.spyOn(console, "error").mockReturnValue();
  const here = await startRouterServer();
  const there = await startPlainServer();
  const queue = CASES[Symbol.iterator]();
  const sendRest = async () => {
    // All senders take from the same iterator, so that each case is sent once.
    for (const one of queue) {
      const [ours, theirs] = await Promise.all([
        send(here, one),
        send(there, one, one.row.differences.includes(UNANSWERED) ? HOPELESS_MS : PATIENCE_MS),
      ]);
      pairs.set(one, { here: ours, there: theirs });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, sendRest));
  await Promise.all([here.close(), there.close()]);
  silenced.mockRestore();
});

async function send({ ports }: Compared, { row, version }: Case, patienceMs = PATIENCE_MS) {
  const sendIt = version === "2" ? sendHttp2 : sendHttp1;
  return facetsOf(await sendIt(ports[version], row, patienceMs));
}

function pairOf(one: Case): Pair {
  return pairs.get(one) as Pair;
}

/** The facets in which two answers differ. */
function differing({ here, there }: Pair): Facet[] {
  return (Object.keys(here) as Facet[]).filter((facet) => here[facet] !== there[facet]);
}

function differencesOf({ row }: Case): readonly DifferenceName[] {
  return row.isWhole ? [...row.differences, EVERYWHERE] : row.differences;
}

test("a caller's own request id is given back", () => {
  const own = CASES.filter(({ row }) => row.headers["x-request-id"] === OWN_REQUEST_ID);
  expect(own.length).toBeGreaterThan(0);
  for (const one of own) expect(pairOf(one).here.requestId).toBe(OWN_REQUEST_ID);
});

test("no two requests have the same name", () => {
  expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
});

describe("the answer is the library's, but for the differences that are meant", () => {
  test.each(CASES)("$name", (one) => {
    const pair = pairOf(one);
    const names = differencesOf(one);
    expect(pair.here.status === BROKEN_OFF).toBe(!one.row.isWhole);
    const allowed = new Set(names.flatMap((name) => TABLE[name].facets));
    // What is allowed to differ shows in the bytes, too.
    if (one.row.differences.length > 0) allowed.add("wire");
    const unmeant = differing(pair).filter((facet) => !allowed.has(facet));
    expect(pick(pair.here, unmeant)).toEqual(pick(pair.there, unmeant));
    for (const name of names) {
      const { here, there, facets } = TABLE[name];
      expect(pair.here).toMatchObject(here);
      expect(pair.there).toMatchObject(there);
      expect(
        differing(pair).some((facet) => facets.includes(facet)),
        name,
      ).toBe(true);
    }
  });
});

describe("each difference that is meant is there", () => {
  test.each(NAMES)("%s", (name) => {
    const seen = new Set(
      CASES.filter((one) => differencesOf(one).includes(name)).flatMap((one) =>
        differing(pairOf(one)),
      ),
    );
    expect(TABLE[name].facets.filter((facet) => !seen.has(facet))).toEqual([]);
  });
});

function pick(facets: Facets, names: readonly Facet[]): Partial<Facets> {
  return Object.fromEntries(names.map((name) => [name, facets[name]]));
}
