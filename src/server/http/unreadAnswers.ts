/**
 * How much memory answers may take together that their callers do not read. An answer to a
 * batch can have a megabyte, and a caller that gives it no room (HTTP/2), or stops reading,
 * makes the server keep it until the request is cut.
 *
 * While there is memory left, every caller may take its time. Once it is used up, an answer
 * that needs more takes it from others: from the address that holds most, the oldest first.
 */
import { type BodyReservation, createBodyBudget } from "./bodyBudget.ts";
import type { NodeResponse } from "./nodeHttp.ts";

/** Forty answers of the greatest size, and two thousand small ones. */
const UNREAD_MAX_BYTES = 32 * 1024 * 1024;
/** What a request takes besides its answer. */
const REQUEST_BYTES = 16 * 1024;
/** Who reads an answer within this time is not counted at all. */
const LOOK_INTERVAL_MS = 1_000;

/** Watches one answer until it is read, whatever writes it. @param address the caller's. */
export type WatchAnswer = (response: NodeResponse, address: string) => void;

/** Makes the common memory of all answers of a port. */
export function createUnreadAnswers(monotonicMs: () => number): WatchAnswer {
  const budget = createBodyBudget(UNREAD_MAX_BYTES, monotonicMs);
  return function watchAnswer(response, address) {
    const sending = "stream" in response ? response.stream : response;
    let reservation: BodyReservation | undefined;
    let reservedBytes = 0;
    const timer = setInterval(() => {
      if (sending.writableLength === 0) return;
      if (reservation === undefined) {
        reservation = budget.reserve(address);
        reservation.onEvicted(() => response.destroy());
      }
      const more = sending.writableLength + REQUEST_BYTES - reservedBytes;
      if (more <= 0) return;
      reservedBytes += more;
      if (!reservation.take(more)) response.destroy();
    }, LOOK_INTERVAL_MS).unref();
    response.once("close", () => {
      clearInterval(timer);
      reservation?.[Symbol.dispose]();
    });
  };
}
