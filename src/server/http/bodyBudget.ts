/**
 * How much memory the bodies of requests that are not authenticated yet may take
 * together. The hash of a body is what is signed, so it must be held whole before its
 * sender is known; without a common limit, strangers could fill the memory.
 *
 * While there is memory left, every body gets it. Once it is used up, a body that needs
 * more takes it from others: from the address whose bodies hold most, the slowest first,
 * by the bytes that came in its last moments. A body that is evicted is refused as
 * `OVERLOADED`. So whoever sends bodies that stop short of their end holds memory only
 * until another needs it, also where both share an address.
 */
import { Shares } from "./shares.ts";

/** What one body takes from its budget. Disposing it gives that back. */
export interface BodyReservation extends Disposable {
  /** Takes so many more bytes. @returns whether they were there to take. */
  take(bytes: number): boolean;
  /** Notes that so many bytes of the body came. */
  progress(bytes: number): void;
  /** @param callback is called if the memory goes to another body; it is given back by then. */
  onEvicted(callback: () => void): void;
}

/** A number of bytes that bodies share. */
export interface BodyBudget {
  /** Begins a reservation of nothing. @param address the sender's, by `addressKey`. */
  reserve(address: string): BodyReservation;
}

/**
 * The time that counts as a body's last moments, once or twice. Long enough that a steady
 * sender over a slow line always shows some progress, and short enough that one that stops
 * is known for slow before the other deadlines end it.
 */
const PROGRESS_WINDOW_MS = 1_000;

/** A body that holds memory. */
interface Holder {
  /** Bytes that came within the last two windows. */
  recentBytes(): number;
  evict(): void;
}

/** Makes a budget. */
export function createBodyBudget(maxBytes: number, monotonicMs: () => number): BodyBudget {
  const shares = new Shares<Holder>();
  let left = maxBytes;

  /** Takes memory from other bodies. @returns whether there is enough for this one now. */
  function makeRoom(bytes: number, forHolder: Holder): boolean {
    while (bytes > left) {
      const victim = slowest(shares.ofGreediest());
      if (victim === undefined || victim === forHolder) return false;
      victim.evict();
    }
    return true;
  }

  return {
    reserve(address) {
      let taken = 0;
      let notify: () => void = () => undefined;
      const recent = createRecentBytes(monotonicMs);
      function giveBack(): void {
        shares.remove(address, holder, taken);
        left += taken;
        taken = 0;
      }
      const holder: Holder = {
        recentBytes: recent.sum,
        evict() {
          giveBack();
          notify();
        },
      };
      return {
        take(bytes) {
          if (bytes > maxBytes - taken || !makeRoom(bytes, holder)) return false;
          if (taken === 0) shares.add(address, holder, bytes);
          else shares.grow(address, bytes);
          left -= bytes;
          taken += bytes;
          return true;
        },
        progress: recent.add,
        onEvicted(callback) {
          notify = callback;
        },
        [Symbol.dispose]: giveBack,
      };
    },
  };
}

/** Of bodies that are equally slow, the oldest. */
function slowest(holders: ReadonlySet<Holder>): Holder | undefined {
  let slowest: Holder | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const holder of holders) {
    const bytes = holder.recentBytes();
    if (bytes >= least) continue;
    if (bytes === 0) return holder;
    slowest = holder;
    least = bytes;
  }
  return slowest;
}

/** Counts bytes in windows of time, and forgets those of any but the last two. */
function createRecentBytes(monotonicMs: () => number) {
  let windowStartMs = monotonicMs();
  let current = 0;
  let previous = 0;
  function advance(): void {
    const passed = Math.floor((monotonicMs() - windowStartMs) / PROGRESS_WINDOW_MS);
    if (passed <= 0) return;
    previous = passed === 1 ? current : 0;
    current = 0;
    windowStartMs += passed * PROGRESS_WINDOW_MS;
  }
  return {
    add(bytes: number): void {
      advance();
      current += bytes;
    },
    sum(): number {
      advance();
      return previous + current;
    },
  };
}
