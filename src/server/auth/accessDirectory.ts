/**
 * Who may do what: all producers with their live secrets, and all live tokens, in memory.
 *
 * A request looks nothing up in the database, so an unknown producer takes no longer than a
 * known one, and a flood of forged requests costs the database nothing. The price is that a
 * change counts when it is seen. A number in the database that grows with each change is
 * looked at several times a second, so that this takes less than a second, however the change
 * was made and whether or not a notification of it arrives; one only makes the look come at
 * once.
 *
 * While the database does not answer, the last known state stays in force for a few seconds,
 * which bridges what a restart or a failover of the database takes. Who is given up meanwhile
 * must not go on sending for as long as only these looks fail, so that then nobody is judged
 * by what is known ({@link AccessDirectory.isStale}).
 */
import type { Logger } from "pino";
import type { AccessSnapshot, AccessStore, LoadedToken } from "../../access/index.ts";
import type { Timers } from "../../ingest/index.ts";
import type { Standing } from "../http/nodeHttp.ts";
import { createProducerKeeper, type KnownProducer } from "./knownProducers.ts";
import type { SecretBox } from "./secretBox.ts";

/** A token as authentication sees it. */
export interface KnownToken extends LoadedToken {
  /** Good while the token is live. */
  readonly standing: Standing;
}

/** What this process knows of who may do what. */
export interface AccessDirectory {
  findProducer(producerId: string): KnownProducer | undefined;
  findToken(tokenId: string): KnownToken | undefined;
  /** The id of the key that secrets are sealed under; `undefined` if none was sealed yet. */
  readonly sealingKeyId: Uint8Array | undefined;
  /** Whether all this is too old to judge anybody by: nobody may do anything then. */
  isStale(): boolean;
  /** Looks soon, because something may have changed. */
  wake(): void;
  /**
   * Reads everything, as it is now, at the earliest.
   *
   * @throws StoreUnavailableError
   */
  refresh(): Promise<void>;
  /** Looks no more. */
  close(): void;
}

/** What {@link openAccessDirectory} is made of. */
export interface AccessDirectoryOptions {
  readonly store: Pick<AccessStore, "version" | "load">;
  readonly box: Pick<SecretBox, "open" | "learnKey">;
  /** Whether every producer needs approval, whatever its own setting. */
  readonly requireApproval: boolean;
  readonly timers: Pick<Timers, "after">;
  readonly monotonicMs: () => number;
  /** From 0 up to 1, so that servers that start together do not look together. */
  readonly random: () => number;
  /** Told of a secret that does not open, and when the directory is stale, and no more. */
  readonly log: Pick<Logger, "error" | "info">;
  /** Told of each look that failed, for metrics. */
  readonly onFailure?: () => void;
}

/** Time between two looks, from start to start: with its jitter, at most half a second. */
const LOOK_INTERVAL_MS = 400;
/** Notifications that come together, as for the changes of a script, are one reason to look. */
const WAKE_DELAY_MS = 25;
/** How far a time is spread, either way. */
const JITTER = 0.25;
/**
 * How long a look waits for the database: little at first, since an answer that is lost must
 * not cost the second, and twice as long after each that was in vain, since a database that is
 * slow would never be waited for, and would still work on what was given up.
 */
const LOOK_TIMEOUT_MIN_MS = 400;
const LOOK_TIMEOUT_MAX_MS = 1_600;
/** How long reading everything may take. */
const READ_TIMEOUT_MS = 5_000;
/** It is read so often although the number is the same, which it may be after a failover. */
const RELOAD_INTERVAL_MS = 60_000;
/**
 * Twice as long as a signal waits for the database: whoever was refused for that finds, with the
 * retry, a directory that has been read over a new connection.
 */
const STALE_AFTER_MS = 10_000;

/**
 * Loads the directory and keeps it fresh.
 *
 * @throws StoreUnavailableError if it cannot be loaded the first time.
 */
export async function openAccessDirectory(
  options: AccessDirectoryOptions,
): Promise<AccessDirectory> {
  const { store, box, timers, monotonicMs, log } = options;
  const keepProducers = createProducerKeeper(options);
  const keepTokens = createTokenKeeper();
  let known = knownFrom(NOTHING);
  /** When what is known was true for sure. */
  let seenMs = Number.NEGATIVE_INFINITY;
  /** The read that is under way, and the one that begins after it. */
  let reading: Promise<void> | undefined;
  let nextReading: Promise<void> | undefined;

  let timeoutMs = LOOK_TIMEOUT_MIN_MS;
  let isLooking = false;
  let isWoken = false;
  let isToldStale = false;
  let isClosed = false;
  let cancelLook = () => {};

  function isStale(): boolean {
    return monotonicMs() - seenMs > STALE_AFTER_MS;
  }

  function knownFrom(snapshot: AccessSnapshot) {
    const { version, nextExpiryMs = RELOAD_INTERVAL_MS } = snapshot;
    return {
      version,
      sealingKeyId: snapshot.sealingKeyId,
      producers: keepProducers(snapshot.producers),
      tokens: keepTokens(snapshot.tokens),
      /** Until when it may be right as long as the version is the same. */
      endMs: monotonicMs() + Math.min(nextExpiryMs, jittered(RELOAD_INTERVAL_MS)),
    };
  }

  function jittered(milliseconds: number): number {
    return milliseconds * (1 + JITTER * (2 * options.random() - 1));
  }

  /** Reads everything. At most one such read is under way. */
  function read(): Promise<void> {
    reading ??= readAll().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  async function readAll(): Promise<void> {
    const startMs = monotonicMs();
    const snapshot = await store.load(READ_TIMEOUT_MS);
    await box.learnKey(snapshot.sealingKeyId);
    known = knownFrom(snapshot);
    seenMs = startMs;
  }

  async function readAnew(): Promise<void> {
    // What is under way may have begun before the change that the caller knows of.
    await reading?.catch(() => undefined);
    nextReading = undefined;
    await read();
  }

  async function look(): Promise<void> {
    const startMs = monotonicMs();
    if (startMs < known.endMs && (await store.version(timeoutMs)) === known.version) {
      seenMs = startMs;
    } else {
      await read();
    }
  }

  async function keepLooking(): Promise<void> {
    const startMs = monotonicMs();
    isLooking = true;
    isWoken = false;
    try {
      await look();
      timeoutMs = LOOK_TIMEOUT_MIN_MS;
      if (isToldStale) log.info("who may do what is known again");
      isToldStale = false;
    } catch (error) {
      timeoutMs = Math.min(2 * timeoutMs, LOOK_TIMEOUT_MAX_MS);
      options.onFailure?.();
      if (isStale() && !isToldStale) {
        isToldStale = true;
        log.error({ err: error }, "who may do what cannot be read: everybody is refused meanwhile");
      }
    }
    isLooking = false;
    const elapsedMs = monotonicMs() - startMs;
    lookAfter(isWoken ? WAKE_DELAY_MS : Math.max(0, jittered(LOOK_INTERVAL_MS) - elapsedMs));
  }

  function lookAfter(milliseconds: number): void {
    cancelLook();
    if (!isClosed) cancelLook = timers.after(milliseconds, () => void keepLooking());
  }

  await read();
  lookAfter(jittered(LOOK_INTERVAL_MS));
  return {
    findProducer: (producerId) => known.producers.get(producerId),
    findToken: (tokenId) => known.tokens.get(tokenId),
    get sealingKeyId() {
      return known.sealingKeyId;
    },
    isStale,
    wake() {
      if (isWoken) return;
      isWoken = true;
      if (!isLooking) lookAfter(WAKE_DELAY_MS);
    },
    refresh() {
      nextReading ??= readAnew();
      return nextReading;
    },
    close() {
      isClosed = true;
      cancelLook();
    },
  };
}

const NOTHING: AccessSnapshot = {
  version: 0n,
  sealingKeyId: undefined,
  producers: [],
  tokens: [],
  nextExpiryMs: undefined,
};

/** Takes all tokens there are in place of those before. @returns them by their ids. */
type TokenKeeper = (tokens: readonly LoadedToken[]) => ReadonlyMap<string, KnownToken>;

function createTokenKeeper(): TokenKeeper {
  let standings = new Map<string, { isGood: boolean }>();
  return function keepTokens(tokens) {
    const kept: typeof standings = new Map();
    const known = new Map<string, KnownToken>();
    for (const token of tokens) {
      const standing = standings.get(token.tokenId) ?? { isGood: true };
      kept.set(token.tokenId, standing);
      known.set(token.tokenId, { ...token, standing });
    }
    for (const [tokenId, standing] of standings) standing.isGood = kept.has(tokenId);
    standings = kept;
    return known;
  };
}
