/**
 * The batcher's promises under any history: random calls, deadlines, answers, failures and
 * closing, in any order. The model is small: it knows what was accepted and when, and what
 * the store was given and said; after every step it judges all that was promised.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Batcher,
  createBatcher,
  type SignalCandidate,
  SignalRejectedError,
  type SignalStore,
  type StoreOutcome,
  StoreUnavailableError,
} from "../../src/ingest/index.ts";
import { SIGNAL_TIME } from "../support/signals.ts";
import { aCandidate, type CandidateParts } from "./candidates.ts";
import { isPoison, POISON } from "./heldStore.ts";
import { ManualTimers, settled } from "./manualTimers.ts";
import { ManualClock, MemoryStore } from "./memoryStore.ts";

const MAX_BATCH_SIZE = 4;
const MAX_BATCHES_IN_FLIGHT = 2;
const MAX_QUEUED = 12;
const STORE_TIMEOUT_MS = 1_000;
const STORE_GIVEN_UP_MS = STORE_TIMEOUT_MS + 1_000;
const RUNS = Number(process.env.MODEL_RUNS ?? 300);

type Outcome = Awaited<ReturnType<Batcher["store"]>>[number];

/** A call that was made, and what came of it. */
interface MadeCall {
  readonly signals: readonly SignalCandidate[];
  readonly deadlineMs: number;
  readonly storeDeadlineMs: number;
  /** As it was when it came, so that a later change of it would be seen. */
  outcomes: readonly Outcome[] | undefined;
}

/** A batch that the store was given. */
interface SentBatch {
  readonly signals: readonly SignalCandidate[];
  readonly sentMs: number;
  readonly settle: (answer: Promise<StoreOutcome[]>) => void;
}

/** What is known of a signal. */
interface Journey {
  readonly call: MadeCall;
  sentCount: number;
  /** What the store said last of a batch with this signal; `undefined` while it is silent. */
  said: StoreOutcome | "rejected alone" | "rejected" | "unavailable" | "fault" | undefined;
  saidMs: number;
}

type Failure = "unavailable" | "fault" | "too few";

/** The batcher with everything around it. */
class World {
  readonly clock = new ManualClock(SIGNAL_TIME);
  readonly timers = new ManualTimers(this.clock);
  readonly batcher: Batcher;
  readonly calls: MadeCall[] = [];
  readonly inFlight: SentBatch[] = [];
  isClosing = false;
  isClosed = false;
  readonly #memory = new MemoryStore();
  readonly #journeys = new Map<SignalCandidate, Journey>();
  /** Every signal in the order in which it was first sent. */
  readonly #firstSent: SignalCandidate[] = [];

  constructor() {
    const store: SignalStore = { ingest: (...given) => this.#send(...given) };
    this.batcher = createBatcher({
      store,
      clock: this.clock,
      timers: this.timers,
      maxBatchSize: MAX_BATCH_SIZE,
      maxBatchesInFlight: MAX_BATCHES_IN_FLIGHT,
      maxQueued: MAX_QUEUED,
      storeTimeoutMs: STORE_TIMEOUT_MS,
      onStoreFailure: () => {},
    });
  }

  async call(signals: readonly SignalCandidate[], patienceMs: number): Promise<void> {
    const nowMs = this.clock.monotonicMs();
    const expected = this.#refusalAtOnce(signals.length, patienceMs);
    const call: MadeCall = {
      signals,
      deadlineMs: nowMs + patienceMs,
      storeDeadlineMs: nowMs + STORE_TIMEOUT_MS,
      outcomes: undefined,
    };
    const answer = this.batcher.store(signals, call.deadlineMs).then((outcomes) => {
      expect(call.outcomes, "answered once").toBeUndefined();
      call.outcomes = structuredClone(outcomes);
      return outcomes;
    });
    if (expected === undefined) {
      for (const signal of signals) {
        this.#journeys.set(signal, { call, sentCount: 0, said: undefined, saidMs: 0 });
      }
      this.calls.push(call);
      await settled();
      expect(call.outcomes, "not answered before the store").toBeUndefined();
    } else {
      expect((await answer).map(reasonOf)).toEqual(signals.map(() => expected));
    }
  }

  /** The store answers by its rules: all of a batch, or it rejects it for its content. */
  async answer(batch: SentBatch): Promise<void> {
    const isRejected = batch.signals.some(isPoison);
    const outcomes = isRejected ? [] : await this.#memory.ingest(batch.signals, STORE_TIMEOUT_MS);
    for (const [index, signal] of batch.signals.entries()) {
      const rejected = batch.signals.length === 1 ? "rejected alone" : "rejected";
      this.#note(signal, isRejected ? rejected : (outcomes[index] as StoreOutcome));
    }
    const answer = isRejected ? Promise.reject(new SignalRejectedError()) : outcomes;
    await this.#settle(batch, Promise.resolve(answer));
  }

  async fail(batch: SentBatch, failure: Failure): Promise<void> {
    const said = failure === "unavailable" ? "unavailable" : "fault";
    for (const signal of batch.signals) this.#note(signal, said);
    const error = failure === "unavailable" ? new StoreUnavailableError() : new TypeError("a bug");
    await this.#settle(batch, failure === "too few" ? Promise.resolve([]) : Promise.reject(error));
  }

  close(): void {
    this.isClosing = true;
    void this.batcher.close().then(() => {
      this.isClosed = true;
    });
  }

  /** The batches for which the batcher still waits, the one sent first at first. */
  get awaited(): SentBatch[] {
    const nowMs = this.clock.monotonicMs();
    return this.inFlight.filter(({ sentMs }) => nowMs < sentMs + STORE_GIVEN_UP_MS);
  }

  /** Judges everything that was promised. */
  check({ isTurnOver }: { isTurnOver: boolean }): void {
    expect(this.awaited.length, "in flight").toBeLessThanOrEqual(MAX_BATCHES_IN_FLIGHT);
    expect(this.#queuedCount(), "queued").toBeLessThanOrEqual(MAX_QUEUED);
    if (isTurnOver && this.#queuedCount() > 0) {
      expect(this.awaited, "nothing waits without need").toHaveLength(MAX_BATCHES_IN_FLIGHT);
    }
    const places = new Map(this.#memory.stored.map((signal, place) => [signal, place]));
    for (const call of this.calls) {
      this.#checkCall(call);
      const ofCall = call.signals.flatMap((signal) => places.get(signal) ?? []);
      expect(ofCall, "a call is stored in its order").toEqual(ofCall.toSorted((a, b) => a - b));
    }
    const accepted = this.calls.flatMap(({ signals }) => signals);
    const sent = accepted.filter((signal) => this.#journeyOf(signal).sentCount > 0);
    expect(idsOf(this.#firstSent), "first in, first out").toEqual(idsOf(sent));
    if (this.isClosed) {
      expect(this.awaited, "closed").toEqual([]);
      expect(this.calls.every(({ outcomes }) => outcomes !== undefined)).toBe(true);
    }
  }

  #send(signals: readonly SignalCandidate[], timeoutMs: number): Promise<StoreOutcome[]> {
    expect(timeoutMs).toBe(STORE_TIMEOUT_MS);
    expect(signals.length).toBeGreaterThan(0);
    const calls = new Set(signals.map((signal) => this.#journeyOf(signal).call));
    if (calls.size > 1) expect(signals.length).toBeLessThanOrEqual(MAX_BATCH_SIZE);
    if (signals.every((signal) => this.#journeyOf(signal).sentCount === 0)) {
      const whole = [...calls].flatMap((call) => call.signals);
      expect(idsOf(signals), "no call is cut").toEqual(idsOf(whole));
    }
    const sentMs = this.clock.monotonicMs();
    for (const signal of signals) {
      const journey = this.#journeyOf(signal);
      expect(sentMs, "sent while its caller waits").toBeLessThan(giveUpMsOf(journey.call));
      if (journey.sentCount === 0) this.#firstSent.push(signal);
      else expect(journey.said, "sent again only after its batch was rejected").toBe("rejected");
      journey.sentCount += 1;
      journey.said = undefined;
    }
    const { promise, resolve } = Promise.withResolvers<StoreOutcome[]>();
    this.inFlight.push({ signals, sentMs, settle: resolve });
    return promise;
  }

  #settle(batch: SentBatch, answer: Promise<StoreOutcome[]>): Promise<void> {
    this.inFlight.splice(this.inFlight.indexOf(batch), 1);
    batch.settle(answer);
    return settled();
  }

  #note(signal: SignalCandidate, said: Journey["said"]): void {
    Object.assign(this.#journeyOf(signal), { said, saidMs: this.clock.monotonicMs() });
  }

  #journeyOf(signal: SignalCandidate): Journey {
    return this.#journeys.get(signal) ?? expect.fail("a signal that was not accepted");
  }

  #refusalAtOnce(signalCount: number, patienceMs: number): string | undefined {
    if (this.isClosing) return "OVERLOADED";
    if (patienceMs <= 0) return "DEADLINE_EXCEEDED";
    return this.#queuedCount() + signalCount > MAX_QUEUED ? "OVERLOADED" : undefined;
  }

  #queuedCount(): number {
    const waiting = this.calls.filter(({ outcomes }) => outcomes === undefined);
    const signals = waiting.flatMap((call) => call.signals);
    return signals.filter((signal) => this.#journeyOf(signal).sentCount === 0).length;
  }

  /** Answered in full by its deadline, with nothing but the truth. */
  #checkCall(call: MadeCall): void {
    const { signals, deadlineMs, outcomes } = call;
    const giveUpMs = giveUpMsOf(call);
    const isTimeOver = this.clock.monotonicMs() >= giveUpMs;
    const journeys = signals.map((signal) => this.#journeyOf(signal));
    expect(outcomes !== undefined, "answered as soon as it can be, and by its deadline").toBe(
      isTimeOver || journeys.every(({ said }) => isFinal(said)),
    );
    if (outcomes === undefined) return;
    const tooLate = giveUpMs === deadlineMs ? "DEADLINE_EXCEEDED" : "STORE_UNAVAILABLE";
    const truths = journeys.map(({ said, saidMs }) =>
      isFinal(said) && saidMs < giveUpMs ? truthOf(said) : tooLate,
    );
    const told = outcomes.map((outcome) =>
      outcome.kind === "refused" ? outcome.refusal.reason : outcome,
    );
    expect(told).toEqual(truths);
  }
}

function idsOf(signals: readonly SignalCandidate[]): string[] {
  return signals.map(({ signalId }) => signalId);
}

function giveUpMsOf({ deadlineMs, storeDeadlineMs }: MadeCall): number {
  return Math.min(deadlineMs, storeDeadlineMs);
}

function isFinal(said: Journey["said"]): boolean {
  return said !== undefined && said !== "rejected";
}

/** What a caller must be told after the store said this. */
function truthOf(said: Journey["said"]): StoreOutcome | string | undefined {
  if (typeof said === "object") return said;
  if (said === "unavailable") return "STORE_UNAVAILABLE";
  return said === "fault" || said === "rejected alone" ? "INTERNAL" : undefined;
}

function reasonOf(outcome: Outcome): string {
  return outcome.kind === "refused" ? outcome.refusal.reason : outcome.kind;
}

type Command = fc.AsyncCommand<Record<string, never>, World>;

/** A step that any world can take, unless it says otherwise. */
function command(
  name: string,
  run: (world: World) => unknown,
  { isTurnOver = false }: { isTurnOver?: boolean } = {},
): Command {
  return {
    check: () => true,
    toString: () => name,
    async run(_, world) {
      await run(world);
      await settled();
      world.check({ isTurnOver });
    },
  };
}

/** Few keys and few contents, so that they meet. */
const arbitraryParts: fc.Arbitrary<CandidateParts> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constant({ comment: POISON }) },
  {
    weight: 1,
    arbitrary: fc.record({
      idempotencyKey: fc.constantFrom("one", "two"),
      comment: fc.constantFrom("", "other"),
    }),
  },
);

const arbitraryCall = fc
  .record({
    parts: fc.array(arbitraryParts, { minLength: 1, maxLength: MAX_QUEUED + 1, size: "small" }),
    patienceMs: fc.oneof(
      { weight: 3, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: STORE_TIMEOUT_MS }) },
      { weight: 1, arbitrary: fc.constantFrom(-1, 0, 1, STORE_TIMEOUT_MS, STORE_TIMEOUT_MS + 1) },
    ),
  })
  .map(({ parts, patienceMs }) =>
    command(`call(${parts.length} signals, ${patienceMs} ms)`, (world) =>
      world.call(parts.map(aCandidate), patienceMs),
    ),
  );

/** A step with one of the batches in flight, those among them that were given up. */
function onBatch(name: string, run: (world: World, batch: SentBatch) => Promise<void>) {
  return fc.nat({ max: 3 }).map((place) =>
    command(`${name}(${place})`, async (world) => {
      const batch = world.inFlight[place % Math.max(1, world.inFlight.length)];
      if (batch !== undefined) await run(world, batch);
    }),
  );
}

const arbitraryCommands = fc.commands(
  [
    arbitraryCall,
    arbitraryCall,
    fc.constant(command("turn", ({ timers }) => timers.turn(), { isTurnOver: true })),
    onBatch("answer", (world, batch) => world.answer(batch)),
    onBatch("answer", (world, batch) => world.answer(batch)),
    fc
      .constantFrom<Failure>("unavailable", "fault", "too few")
      .chain((failure) => onBatch(failure, (world, batch) => world.fail(batch, failure))),
    fc
      .oneof(
        fc.integer({ min: 1, max: STORE_TIMEOUT_MS }),
        fc.constantFrom(STORE_TIMEOUT_MS, STORE_GIVEN_UP_MS),
      )
      .map((ms) => command(`pass(${ms} ms)`, ({ timers }) => timers.advanceMs(ms))),
    // Rarely, since little can happen after it.
    fc
      .nat({ max: 9 })
      .map((dice) =>
        dice === 0 ? command("close", (world) => world.close()) : command("rest", () => {}),
      ),
  ],
  { size: "+1" },
);

test("every history keeps the promises", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryCommands, async (commands) => {
      const world = new World();
      await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);

      // Whatever happened, the batcher comes to its end, and leaves nothing behind.
      await world.timers.turn();
      world.check({ isTurnOver: true });
      world.close();
      await settled();
      while (world.awaited.length > 0) {
        await world.answer(world.awaited[0] as SentBatch);
        world.check({ isTurnOver: true });
      }
      expect(world.isClosed).toBe(true);
      expect(world.timers.waitingCount).toBe(0);
      world.check({ isTurnOver: true });
    }),
    { numRuns: RUNS },
  );
});
