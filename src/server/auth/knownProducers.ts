/**
 * Producers as this process keeps them: with their secrets opened, ready to verify.
 */
import type { Logger } from "pino";
import type { LoadedProducer, SealedSecret } from "../../access/index.ts";
import type { Producer } from "../../ingest/index.ts";
import type { Secret } from "../../signing/index.ts";
import type { Standing } from "../http/nodeHttp.ts";
import type { SecretBox } from "./secretBox.ts";

/** A producer as authentication sees it. */
export interface KnownProducer extends Producer {
  readonly isEnabled: boolean;
  /** Signals a second; `undefined` sets no limit. */
  readonly rateLimitPerSecond: number | undefined;
  /** Its live secrets, at most two, the newest first. */
  readonly secrets: readonly KnownSecret[];
}

/** A secret that is live. */
export interface KnownSecret {
  readonly secretId: string;
  readonly secret: Secret;
  /** Good while its producer may send with it. */
  readonly standing: Standing;
}

/** What can be taken back. */
interface OpenedSecret extends KnownSecret {
  readonly standing: { isGood: boolean };
}

/** What {@link createProducerKeeper} is made of. */
export interface ProducerKeeperOptions {
  readonly box: Pick<SecretBox, "open">;
  /** Whether every producer needs approval, whatever its own setting. */
  readonly requireApproval: boolean;
  /** Told once of a secret that does not open. */
  readonly log: Pick<Logger, "error">;
}

/** Takes all producers there are in place of those before. @returns them by their ids. */
export type ProducerKeeper = (
  producers: readonly LoadedProducer[],
) => ReadonlyMap<string, KnownProducer>;

/** The newest two secrets count: the old one and the new one of a rotation. */
const LIVE_SECRETS_MAX = 2;

/**
 * Makes a keeper. It opens each secret once and not each time, since to decrypt it and to
 * prepare its key takes time. One that does not open leaves the others alone, and is tried
 * again the next time, when its key may be known here.
 */
export function createProducerKeeper(options: ProducerKeeperOptions): ProducerKeeper {
  let opened: ReadonlyMap<string, OpenedSecret> = new Map();
  let broken: ReadonlySet<string> = new Set();

  return function keepProducers(producers) {
    const stillOpened = new Map<string, OpenedSecret>();
    const stillBroken = new Set<string>();

    function openSecret(producerId: string, { secretId, sealed }: SealedSecret): OpenedSecret {
      const secret = options.box.open(sealed, producerId);
      return { secretId, secret, standing: { isGood: true } };
    }

    function keepSecret(producer: LoadedProducer, sealed: SealedSecret): KnownSecret[] {
      // With the producer, since a secret that was moved to another does not open there.
      const key = `${producer.producerId} ${sealed.secretId}`;
      try {
        const known = opened.get(key) ?? openSecret(producer.producerId, sealed);
        known.standing.isGood = producer.enabled;
        stillOpened.set(key, known);
        return [known];
      } catch (error) {
        stillBroken.add(key);
        if (!broken.has(key)) tellBroken(producer.producerId, error);
        return [];
      }
    }

    function tellBroken(producerId: string, error: unknown): void {
      const question = "is COUNTERSIGN_MASTER_KEY the one that sealed it?";
      options.log.error(
        { err: error },
        `a secret of producer ${producerId} does not open: ${question}`,
      );
    }

    const known = new Map<string, KnownProducer>();
    for (const producer of producers) {
      const { producerId, allowedInstruments } = producer;
      known.set(producerId, {
        producerId,
        isEnabled: producer.enabled,
        requireApproval: options.requireApproval || producer.requireApproval,
        allowedInstruments: allowedInstruments && new Set(allowedInstruments),
        rateLimitPerSecond: producer.rateLimitPerSecond,
        secrets: producer.secrets
          .slice(0, LIVE_SECRETS_MAX)
          .flatMap((sealed) => keepSecret(producer, sealed)),
      });
    }
    for (const [key, { standing }] of opened) {
      if (!stillOpened.has(key)) standing.isGood = false;
    }
    // Those that are gone are forgotten.
    opened = stillOpened;
    broken = stillBroken;
    return known;
  };
}
