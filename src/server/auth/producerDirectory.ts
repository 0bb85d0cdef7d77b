/**
 * Who may sign: all producers with their live secrets, kept in memory.
 *
 * A request looks nothing up in the database, so an unknown producer takes no longer
 * than a known one, and a flood of forged requests costs the database nothing. The
 * price is that a change is seen only at the next refresh.
 */
import type { Producer } from "../../ingest/index.ts";
import type { Secret } from "../../signing/index.ts";
import type { StoredProducer } from "../../store/index.ts";
import type { SecretBox } from "./secretBox.ts";

/** A producer as authentication sees it. */
export interface KnownProducer extends Producer {
  readonly isEnabled: boolean;
  /** Signals a second; `undefined` sets no limit. */
  readonly rateLimitPerSecond: number | undefined;
  /** Its live secrets, at most two. */
  readonly secrets: readonly Secret[];
}

/** How often the directory is read again, in milliseconds: how late a change may be seen. */
const REFRESH_INTERVAL_MS = 1_000;

/** The newest two secrets count: the old one and the new one of a rotation. */
export const LIVE_SECRETS_MAX = 2;

/** The producers that this server knows. */
export interface ProducerDirectory {
  find(producerId: string): KnownProducer | undefined;
  /** Reads the database now. @throws StoreUnavailableError */
  refresh(): Promise<void>;
  close(): void;
}

/** What {@link openProducerDirectory} is made of. */
export interface ProducerDirectoryOptions {
  readonly load: () => Promise<readonly StoredProducer[]>;
  readonly box: SecretBox;
  /** Whether every producer needs approval, whatever its own setting. */
  readonly requireApproval: boolean;
  /** Told of a producer or a refresh that failed; the last known state stays in force. */
  readonly onFailure: (message: string, error: unknown) => void;
}

/**
 * Loads the directory and keeps it fresh.
 *
 * @throws StoreUnavailableError if it cannot be loaded the first time.
 */
export async function openProducerDirectory(
  options: ProducerDirectoryOptions,
): Promise<ProducerDirectory> {
  let producers: ReadonlyMap<string, KnownProducer> = new Map();
  const opened: OpenedSecrets = new Map();

  async function refresh(): Promise<void> {
    const stored = await options.load();
    producers = new Map(
      stored.map((producer) => [producer.producerId, knownProducer(producer, opened, options)]),
    );
    forgetAllBut(opened, stored);
  }

  await refresh();
  let timer = setTimeout(poll, REFRESH_INTERVAL_MS);
  let isClosed = false;
  async function poll(): Promise<void> {
    await refresh().catch((error) => options.onFailure("could not refresh the producers", error));
    if (!isClosed) timer = setTimeout(poll, REFRESH_INTERVAL_MS);
  }

  return {
    find: (producerId) => producers.get(producerId),
    refresh,
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

/** The secrets by their ids; `undefined` for one that does not open. */
type OpenedSecrets = Map<string, Secret | undefined>;

function knownProducer(
  producer: StoredProducer,
  opened: OpenedSecrets,
  { box, requireApproval, onFailure }: ProducerDirectoryOptions,
): KnownProducer {
  const secrets: Secret[] = [];
  for (const { secretId, sealed } of producer.secrets.slice(0, LIVE_SECRETS_MAX)) {
    // A secret is opened and its key made once, not at every refresh; and one that does
    // not open is told of once.
    if (!opened.has(secretId)) opened.set(secretId, open(sealed));
    const secret = opened.get(secretId);
    if (secret !== undefined) secrets.push(secret);
  }
  function open(sealed: Uint8Array): Secret | undefined {
    try {
      return box.open(sealed, producer.producerId);
    } catch (error) {
      const question = "is COUNTERSIGN_MASTER_KEY the one that sealed it?";
      onFailure(`a secret of producer ${producer.producerId} does not open: ${question}`, error);
      return undefined;
    }
  }
  return {
    producerId: producer.producerId,
    isEnabled: producer.enabled,
    requireApproval: requireApproval || producer.requireApproval,
    allowedInstruments: producer.allowedInstruments,
    rateLimitPerSecond: producer.rateLimitPerSecond,
    secrets,
  };
}

function forgetAllBut(opened: OpenedSecrets, stored: readonly StoredProducer[]): void {
  const live = new Set(stored.flatMap(({ secrets }) => secrets.map(({ secretId }) => secretId)));
  for (const secretId of opened.keys()) {
    if (!live.has(secretId)) opened.delete(secretId);
  }
}
