/**
 * How much memory the bodies of requests that are not authenticated yet may take
 * together. The hash of a body is what is signed, so it must be held whole before its
 * sender is known; without a common limit, strangers could fill the memory.
 */

/** What one body takes from its budget. */
export interface BodyReservation extends Disposable {
  /** Takes so many more bytes. @returns whether they were there to take. */
  take(bytes: number): boolean;
}

/** A number of bytes that bodies share. */
export interface BodyBudget {
  /** Begins a reservation of nothing. Disposing it gives back what it took. */
  reserve(): BodyReservation;
}

/** Makes a budget. */
export function createBodyBudget(maxBytes: number): BodyBudget {
  let left = maxBytes;
  return {
    reserve() {
      let taken = 0;
      return {
        take(bytes) {
          if (bytes > left) return false;
          left -= bytes;
          taken += bytes;
          return true;
        },
        [Symbol.dispose]() {
          left += taken;
          taken = 0;
        },
      };
    },
  };
}
