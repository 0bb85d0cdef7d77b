/**
 * Times for people: when it was, and how long ago that is. Pure.
 */

import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

/** Such as `3 min`, in the biggest unit of which there is one, and hours up to two days. */
export function ageText(ageMs: number): string {
  const seconds = Math.floor(ageMs / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${(seconds / 3_600).toFixed(1)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A moment to the second, such as `2025-10-25T14:30:45Z`. */
export function momentText(moment: Date): string {
  return `${moment.toISOString().slice(0, 19)}Z`;
}

/**
 * How far away a time of a message is: `3 min ago`, or `in 3 min`. For tables, which have no room
 * for more on a terminal of 80 columns.
 *
 * @param otherwise for a time that is absent.
 */
export function distanceText(time: Timestamp | undefined, nowMs: number, otherwise = "-"): string {
  if (time === undefined) return otherwise;
  const ageMs = nowMs - timestampDate(time).getTime();
  return ageMs < 0 ? `in ${ageText(-ageMs)}` : `${ageText(ageMs)} ago`;
}

/**
 * A time of a message, and how far away it is: `2025-10-25T14:30:45Z (3 min ago)`.
 *
 * @param otherwise for a time that is absent.
 */
export function whenText(time: Timestamp | undefined, nowMs: number, otherwise = "-"): string {
  if (time === undefined) return otherwise;
  return `${momentText(timestampDate(time))} (${distanceText(time, nowMs)})`;
}
