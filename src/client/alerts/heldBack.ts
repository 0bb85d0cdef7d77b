/**
 * Alerts of one kind that wait for the end of an interval, and the one alert that then tells
 * of all of them. Pure.
 */

import { cutText, formatUtc } from "../text.ts";
import type { Alert, AlertKind } from "./alert.ts";

/** How many of the held back alerts are told with their text: the last ones. */
const TOLD_MAX = 3;
/** With this many UTF-16 units for each, all that are told fit into a message of Telegram. */
const TOLD_TEXT_MAX_UNITS = 1_000;

/** An alert cannot be called back when what it tells of is settled. */
const SEE_FIRST = "Before you act, see whether it is settled since.";

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

  /** The one alert to send for all: undefined for none. */
  summary(): Alert | undefined {
    const newest = this.#last.at(-1);
    if (newest === undefined) return undefined;
    const { time, text } = newest;
    if (this.#count === 1) {
      const head = `This happened at ${formatUtc(time)} and was held back. ${SEE_FIRST}`;
      return { ...newest, text: `${head}\n\n${text}` };
    }
    const told = this.#last.map(
      (alert) => `${formatUtc(alert.time)}: ${cutText(alert.text, TOLD_TEXT_MAX_UNITS)}`,
    );
    return { kind: this.#kind, text: [this.#head(told.length), ...told].join("\n\n"), time };
  }

  #head(toldCount: number): string {
    const which = this.#count > toldCount ? `, the last ${toldCount} of them; the log has all` : "";
    const head = `… and ${this.#count} more of this kind since ${formatUtc(this.#since)}${which}.`;
    return `${head} They were held back. ${SEE_FIRST}`;
  }
}
