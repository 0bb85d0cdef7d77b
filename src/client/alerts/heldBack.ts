/**
 * Alerts of one kind that wait for the end of an interval, and the one alert that then tells
 * of all of them. Pure.
 */
import type { Alert, AlertKind } from "./alert.ts";
import { cutText, formatUtc } from "./text.ts";

/** How many of the held back alerts are told with their text: the last ones. */
const TOLD_MAX = 3;
/** With this many UTF-16 units for each, all that are told fit into a message of Telegram. */
const TOLD_TEXT_MAX_UNITS = 1_000;

/** Counts what is held back, and keeps the last few: bounded, however many there are. */
export class HeldBack {
  readonly #kind: AlertKind;
  readonly #since: Date;
  #count = 0;
  #last: Alert[] = [];

  /** @param since when the alert before them was sent. */
  constructor(kind: AlertKind, since: Date) {
    this.#kind = kind;
    this.#since = since;
  }

  /** Holds one back. */
  add(alert: Alert): void {
    this.#count += 1;
    this.#last = [...this.#last, alert].slice(-TOLD_MAX);
  }

  /** The one alert to send for all: undefined for none, itself if it is alone. */
  summary(): Alert | undefined {
    const newest = this.#last.at(-1);
    if (newest === undefined || this.#count === 1) return newest;
    const told = this.#last.map(
      ({ time, text }) => `${formatUtc(time)}: ${cutText(text, TOLD_TEXT_MAX_UNITS)}`,
    );
    const which = this.#count > told.length ? `, the last ${told.length} of them` : "";
    const head = `… and ${this.#count} more of this kind since ${formatUtc(this.#since)}${which}:`;
    return { kind: this.#kind, text: [head, ...told].join("\n\n"), time: newest.time };
  }
}
