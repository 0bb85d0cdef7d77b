/**
 * An alert as a message of Telegram's Bot API. Pure.
 */

import { cutText, formatUtc } from "../text.ts";
import type { Alert } from "./alert.ts";
import { TITLE_BY_KIND } from "./titles.ts";

/** The most that `sendMessage` takes after the markup is parsed, in UTF-16 units. */
const MESSAGE_MAX_UNITS = 4_096;
/** A host's name has at most 253 characters; the rest of the message needs the room more. */
const HOST_MAX_UNITS = 100;

/** The same message twice. */
export interface TelegramMessage {
  /** For the parse mode `HTML`. */
  readonly html: string;
  /** For no parse mode. */
  readonly plain: string;
}

/**
 * Writes an alert as title, text and time. The text is cut before it is escaped, so that
 * no cut goes through an escape or a tag.
 */
export function telegramMessage(alert: Alert, host: string | undefined): TelegramMessage {
  const title = TITLE_BY_KIND[alert.kind];
  const head = host === undefined ? title : `${title} (${cutText(host, HOST_MAX_UNITS)})`;
  const time = formatUtc(alert.time);
  const frame = `${head}\n\n\n\n${time}`;
  const text = cutText(alert.text, MESSAGE_MAX_UNITS - frame.length);
  return {
    html: `<b>${escapeHtml(head)}</b>\n\n${escapeHtml(text)}\n\n<i>${time}</i>`,
    plain: `${head}\n\n${text}\n\n${time}`,
  };
}

/** All that the Bot API asks to be escaped outside of attributes. */
function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
