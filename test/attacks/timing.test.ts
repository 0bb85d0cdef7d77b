/**
 * The time of a refusal tells nobody whether an id is known: of producers and of tokens, the
 * refusal of a known id with a wrong proof takes as long as that of an unknown one.
 *
 * Measured is the function that decides, without a network, which would hide a difference: what
 * cannot be found here cannot be found from outside. The two kinds alternate, in an order drawn
 * by chance, in blocks of many calls each; the medians of the blocks are compared by the test of
 * Mann and Whitney, which asks for no shape of the distribution. A difference counts that each of
 * two rounds finds, in the same direction (by chance, that is one run in two million), and that is
 * at least a twentieth of the time itself: less comes from where things lie in memory.
 *
 * How small a difference would be found is not assumed but tried, on the same machine and in the
 * same minute: a delay of {@link DELAY_US} for one of the two kinds has to be found.
 */
import { describe, expect, test } from "vitest";
import { authenticateBySignature } from "../../src/server/auth/authenticate.ts";
import { authenticateByToken } from "../../src/server/auth/bearer.ts";
import { generateCredential } from "../../src/signing/index.ts";
import { directoryOf } from "../server/support/directory.ts";
import { NO_LIMIT } from "../server/support/noLimit.ts";
import { aToken, forgedWithId } from "../server/support/tokens.ts";
import { INGEST_PATH } from "../server/support/wire.ts";
import { testHeaders } from "../support/server.ts";

const BLOCKS = 600;
const CALLS_IN_BLOCK = 25;
/** In microseconds: what a lookup in a database, or a hash that is left out, would take or spare. */
const DELAY_US = 2;
const ALPHA = 0.001;
/** Of the time itself. */
const DIFFERENCE_MIN = 0.05;
const ROUNDS = 2;

type Attempt = () => unknown;

const BODY = Buffer.from("{}");
const authenticate = authenticateBySignature({
  directory: directoryOf("known-bot"),
  rateLimit: NO_LIMIT,
  now: () => 0n,
});

/** Signed with a wrong secret. All are prepared, so that none is measured. */
function signedBy(producerId: string): Attempt {
  const headers = testHeaders(INGEST_PATH, BODY, {
    producerId,
    secret: generateCredential("sec").text,
    timestamp: "1970-01-01T00:00:00Z",
  });
  return () => authenticate({ headers, endpoint: INGEST_PATH, body: BODY, isBatch: false });
}

const token = aToken();
const authenticateToken = authenticateByToken({
  directory: {
    findToken: (id) => (id === token.tokenId ? token : undefined),
    isStale: () => false,
  },
});

function calledWith(text: string): Attempt {
  const request = { rawHeaders: ["authorization", `Bearer ${text}`] };
  return () => authenticateToken(request);
}

/** An attempt that takes longer by so many microseconds. */
function delayed(attempt: Attempt, us: number): Attempt {
  return () => {
    const endMs = performance.now() + us / 1_000;
    while (performance.now() < endMs);
    return attempt();
  };
}

/** The median time of the calls of one block, in microseconds. */
async function timeOf(attempts: readonly Attempt[]): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < CALLS_IN_BLOCK; count++) {
    const attempt = attempts[count % attempts.length] as Attempt;
    const startMs = performance.now();
    // Its answer is there at once or with the next microtask, alike for both kinds.
    const answer = attempt();
    times.push((performance.now() - startMs) * 1_000);
    await answer;
  }
  return median(times);
}

/** Two kinds of attempts, block by block in an order of chance. @returns the p-value. */
async function compare(first: readonly Attempt[], second: readonly Attempt[]) {
  const times: [number[], number[]] = [[], []];
  for (let block = 0; block < BLOCKS; block++) {
    const order = Math.random() < 0.5 ? [0, 1] : [1, 0];
    for (const kind of order as (0 | 1)[]) {
      times[kind].push(await timeOf(kind === 0 ? first : second));
    }
  }
  return mannWhitney(...times);
}

/** @returns the two-sided p-value, by the normal approximation with ties, and the medians. */
function mannWhitney(a: readonly number[], b: readonly number[]) {
  const all = [
    ...a.map((value) => ({ value, isA: true })),
    ...b.map((value) => ({ value, isA: false })),
  ];
  all.sort((x, y) => x.value - y.value);
  let rankSum = 0;
  let ties = 0;
  for (let from = 0; from < all.length; ) {
    let to = from;
    while (to < all.length && all[to]?.value === all[from]?.value) to += 1;
    const rank = (from + to + 1) / 2;
    const size = to - from;
    ties += size ** 3 - size;
    for (let at = from; at < to; at++) if (all[at]?.isA === true) rankSum += rank;
    from = to;
  }
  const [n, m, total] = [a.length, b.length, all.length];
  const u = rankSum - (n * (n + 1)) / 2;
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)));
  const z = (u - (n * m) / 2) / Math.sqrt(variance);
  return { p: 2 * (1 - normal(Math.abs(z))), mediansUs: [median(a), median(b)] as const };
}

function median(values: readonly number[]): number {
  return values.toSorted((x, y) => x - y)[values.length >> 1] as number;
}

/** The normal distribution function (Abramowitz and Stegun, 26.2.17; error below 1e-7). */
function normal(x: number): number {
  const t = 1 / (1 + 0.231_641_9 * x);
  const series = [0.319_381_53, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
  const sum = series.reduceRight((rest, factor) => t * (factor + rest), 0);
  return 1 - (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * sum;
}

/** Whether each of the rounds finds the same difference. */
async function isToldApart(name: string, first: readonly Attempt[], second: readonly Attempt[]) {
  const differences: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { p, mediansUs } = await compare(first, second);
    const [firstUs, secondUs] = mediansUs;
    const told = `${firstUs.toFixed(2)} and ${secondUs.toFixed(2)}`;
    process.stderr.write(`${name}: p = ${p.toPrecision(2)}, medians ${told} µs\n`);
    differences.push(p < ALPHA ? firstUs / secondUs - 1 : 0);
  }
  return (
    differences.every((each) => each > DIFFERENCE_MIN) ||
    differences.every((each) => each < -DIFFERENCE_MIN)
  );
}

/** So many different ones, as a stranger would send, so that no branch learns one of them. */
const MANY = 50;
const many = (make: (index: number) => Attempt) =>
  Array.from({ length: MANY }, (_, index) => make(index));

const KINDS = {
  "a signature": {
    known: many(() => signedBy("known-bot")),
    unknown: many((index) => signedBy(`nobody-${index.toString().padStart(2, "0")}`)),
  },
  "a token": {
    known: many(() => calledWith(forgedWithId(token.tokenId))),
    unknown: many(() => calledWith(aToken().text)),
  },
};

describe.each(Object.entries(KINDS))("%s", (name, { known, unknown }) => {
  test("of a known id is not told from that of an unknown one by the time", {
    timeout: 120_000,
  }, async () => {
    await compare(known, unknown);
    expect(await isToldApart(`${name}, known and unknown`, known, unknown)).toBe(false);
  });

  test(`would be told apart by ${DELAY_US} µs`, { timeout: 120_000 }, async () => {
    const longer = known.map((attempt) => delayed(attempt, DELAY_US));
    expect(await isToldApart(`${name}, with ${DELAY_US} µs more`, longer, unknown)).toBe(true);
  });
});
