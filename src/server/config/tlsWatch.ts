/**
 * Sees to it that a certificate that was renewed is served, and that somebody hears of one that
 * was not. The files are looked at again and again, since what replaces them (symbolic links,
 * renames, volumes of Kubernetes, network drives) escapes the file system's own notices.
 */
import type { X509Certificate } from "node:crypto";
import type { Logger } from "pino";
import type { Timers } from "../../ingest/index.ts";
import type { TlsMaterial } from "../http/tlsOptions.ts";
import type { FileContent } from "./smallFile.ts";
import { judgeTls, type TlsContents, type TlsFiles, type TlsPair } from "./tls.ts";

/** How often it is looked at the files. */
const LOOK_INTERVAL_MS = 2_000;
/**
 * Two files are replaced one after the other, and a file is written piece by piece: what is new
 * is judged when it has stayed as it is for so long.
 */
const SETTLE_MS = 1_000;
/** A network drive that is gone may never answer. */
const READ_TIMEOUT_MS = 10_000;
/** What is wrong with the certificate in force is told so often. */
const REMIND_INTERVAL_MS = 86_400_000;
const DAY_MS = 86_400_000;
/**
 * Who renews automatically does it when a third of the time is left, such as the last 30 of 90
 * days, and at the latest in the last half of a time of days. Less than this, and it failed.
 */
const ENDS_SOON_MS = 14 * DAY_MS;
const ENDS_SOON_SHARE = 1 / 4;
/** A certificate may have hundreds of names. */
const NAMES_MAX_LENGTH = 200;

const LATE: FileContent = {
  fault: `cannot be read: there is no answer within ${READ_TIMEOUT_MS / 1_000} s`,
};

/** What {@link watchTls} is made of. */
export interface TlsWatchOptions {
  readonly files: TlsFiles;
  /** What is in force now. */
  readonly pair: TlsPair;
  /** Reads the files. It must not reject. */
  readonly read: () => Promise<TlsContents>;
  /** Puts a pair in force for all that connect from now on. */
  readonly apply: (material: TlsMaterial) => void;
  /** Nanoseconds since 1970. */
  readonly now: () => bigint;
  readonly monotonicMs: () => number;
  readonly timers: Pick<Timers, "after">;
  readonly log: Logger;
}

/** Files that are looked at. */
export interface TlsWatch {
  /** When the certificate in force ends, in milliseconds since 1970. */
  readonly expiryMs: number;
  /** Looks no more. */
  close(): void;
}

/** Looks at the files from now on, and tells what is in force. */
export function watchTls(options: TlsWatchOptions): TlsWatch {
  const { files, apply, monotonicMs, log } = options;
  let inForce = options.pair;
  /** What was last judged, and what was last seen. */
  let judged: TlsContents = { cert: { bytes: inForce.cert }, key: { bytes: inForce.key } };
  let seen = judged;
  /** A pair that is sound, but less good now than the one in force. */
  let waiting: TlsPair | undefined;
  /** Why what is in the files now is not in force. */
  let faults: readonly string[] | undefined;
  let told: { readonly standing: Standing; readonly atMs: number } | undefined;
  let isClosed = false;
  let cancel = () => {};

  function nowMs(): number {
    return Number(options.now() / 1_000_000n);
  }

  function lookAfter(delayMs: number): void {
    cancel = options.timers.after(delayMs, () => {
      void look()
        .catch((error) => {
          log.error({ err: error }, "the TLS certificate was not renewed");
          return LOOK_INTERVAL_MS;
        })
        .then((nextMs) => {
          if (!isClosed) lookAfter(nextMs);
        });
    });
  }

  /** @returns after how many milliseconds to look again. */
  async function look(): Promise<number> {
    const contents = await readInTime();
    if (isClosed) return LOOK_INTERVAL_MS;
    const isSettled = areSame(contents, seen);
    seen = contents;
    if (isSettled && !areSame(contents, judged)) judge(contents);
    if (waiting !== undefined && isNoWorse(waiting)) take(waiting);
    remind();
    return isSettled ? LOOK_INTERVAL_MS : SETTLE_MS;
  }

  let reading: Promise<TlsContents> | undefined;

  /** A read that hangs is not begun a second time, since each takes a thread. */
  function readInTime(): Promise<TlsContents> {
    reading ??= options.read().finally(() => {
      reading = undefined;
    });
    const { promise, resolve } = Promise.withResolvers<TlsContents>();
    cancel = options.timers.after(READ_TIMEOUT_MS, () => resolve({ cert: LATE, key: LATE }));
    void reading.then(resolve);
    return promise.finally(cancel);
  }

  function judge(contents: TlsContents): void {
    judged = contents;
    waiting = undefined;
    const { content: pair, fault } = judgeTls(contents, files);
    if (pair === undefined) refuse(fault);
    else if (isNoWorse(pair)) take(pair);
    else {
      waiting = pair;
      refuse([`TLS_CERT_FILE ${files.certFile} holds a certificate ${untimely(pair.own)}`]);
    }
  }

  function isNoWorse({ own }: TlsPair): boolean {
    return isInTime(own, nowMs()) || !isInTime(inForce.own, nowMs());
  }

  function refuse(found: readonly string[]): void {
    faults = found;
    log.error(
      { faults, in_force: factsOf(inForce.own) },
      "the new TLS certificate is not taken: the earlier one stays in force",
    );
  }

  function take(pair: TlsPair): void {
    waiting = undefined;
    faults = undefined;
    if (!isSamePair(pair, inForce)) {
      apply(pair);
      told = undefined;
    }
    inForce = pair;
    tellInForce();
  }

  function tellInForce(): void {
    log.info(factsOf(inForce.own), "TLS certificate is in force");
  }

  /** Tells what is wrong with the certificate in force: when it becomes so, and once a day. */
  function remind(): void {
    const standing = standingOf(inForce.own, nowMs());
    const isDue = standing !== told?.standing || monotonicMs() - told.atMs >= REMIND_INTERVAL_MS;
    if (!isDue) return;
    told = { standing, atMs: monotonicMs() };
    if (standing === "good") return;
    const { level, message } = REMINDERS[standing];
    const daysLeft = Math.floor((inForce.own.validToDate.getTime() - nowMs()) / DAY_MS);
    const facts = { TLS_CERT_FILE: files.certFile, days_left: daysLeft, faults };
    log[level]({ ...facts, ...factsOf(inForce.own) }, message);
  }

  tellInForce();
  remind();
  lookAfter(LOOK_INTERVAL_MS);
  return {
    get expiryMs() {
      return inForce.own.validToDate.getTime();
    },
    close() {
      isClosed = true;
      cancel();
    },
  };
}

/** How a certificate stands to the time. */
type Standing = "good" | "ending" | "expired" | "early";

const REMINDERS = {
  ending: {
    level: "warn",
    message: "the TLS certificate expires soon, and there is no newer one",
  },
  expired: { level: "error", message: "the TLS certificate has expired: clients refuse it" },
  early: { level: "error", message: "the TLS certificate is not valid yet: clients refuse it" },
} as const satisfies Record<Exclude<Standing, "good">, unknown>;

function standingOf(certificate: X509Certificate, nowMs: number): Standing {
  const fromMs = certificate.validFromDate.getTime();
  const toMs = certificate.validToDate.getTime();
  if (toMs <= nowMs) return "expired";
  if (fromMs > nowMs) return "early";
  const endsSoonMs = Math.min(ENDS_SOON_MS, (toMs - fromMs) * ENDS_SOON_SHARE);
  return toMs - nowMs < endsSoonMs ? "ending" : "good";
}

function isInTime(certificate: X509Certificate, nowMs: number): boolean {
  const standing = standingOf(certificate, nowMs);
  return standing === "good" || standing === "ending";
}

/** Why a certificate is not in time, as the end of a sentence. */
function untimely({ validFromDate, validToDate }: X509Certificate): string {
  return `that is valid from ${validFromDate.toISOString()} to ${validToDate.toISOString()} only`;
}

/** What tells one certificate from another. */
function factsOf({ serialNumber, subjectAltName, validFromDate, validToDate }: X509Certificate) {
  return {
    serial_number: serialNumber,
    names: subjectAltName?.slice(0, NAMES_MAX_LENGTH),
    valid_from: validFromDate.toISOString(),
    valid_to: validToDate.toISOString(),
  };
}

function isSamePair(one: TlsMaterial, other: TlsMaterial): boolean {
  return one.cert.equals(other.cert) && one.key.equals(other.key);
}

function areSame(one: TlsContents, other: TlsContents): boolean {
  return isSame(one.cert, other.cert) && isSame(one.key, other.key);
}

function isSame(one: FileContent, other: FileContent): boolean {
  if (one.bytes === undefined || other.bytes === undefined) return one.fault === other.fault;
  return one.bytes.equals(other.bytes);
}
