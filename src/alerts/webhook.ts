/**
 * The channel to any program that takes JSON over HTTP.
 */
import { type Alert, AlertError, type AlertSink } from "./alert.ts";
import { errorCode, parseRetryAfter } from "./peer.ts";
import { noAnswer, withRetries } from "./retries.ts";
import type { HiddenText } from "./settings.ts";

/** How to reach a webhook. */
export interface WebhookSettings {
  readonly url: HiddenText;
  /** Names this machine in every alert. */
  readonly host?: string | undefined;
  /** How often an attempt that failed for a passing reason is repeated. */
  readonly retries: number;
}

/**
 * The channel. It posts `{"kind", "text", "time", "host"}`, the time in RFC 3339, and takes
 * any status of 200 to 299 for success. Redirects are not followed.
 */
export class WebhookSink implements AlertSink {
  readonly name = "webhook";
  readonly #options: WebhookSettings;

  constructor(options: WebhookSettings) {
    this.#options = options;
  }

  async send(alert: Alert, signal: AbortSignal): Promise<void> {
    const { kind, text, time } = alert;
    // JSON.stringify writes a lone surrogate as an escape that strict parsers refuse.
    const body = JSON.stringify({
      kind,
      text: text.toWellFormed(),
      time,
      host: this.#options.host,
    });
    await withRetries((attempt) => this.#post(body, attempt), this.#options.retries, signal);
  }

  async #post(body: string, signal: AbortSignal): Promise<void> {
    const response = await this.#fetch(body, signal);
    // Nobody reads what it says; left alone, it would hold the connection.
    await response.body?.cancel().catch(() => {});
    if (!response.ok) throw describeStatus(response);
  }

  async #fetch(body: string, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(this.#options.url.reveal(), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal,
        redirect: "manual",
      });
    } catch (error) {
      if (signal.aborted) throw noAnswer();
      const code = errorCode(error) ?? "no code";
      throw new AlertError("UNREACHABLE", `The webhook cannot be reached (${code}).`);
    }
  }
}

function describeStatus({ status, headers }: Response): AlertError {
  const told = `The webhook answered ${status}.`;
  if (status === 429) {
    return new AlertError("RATE_LIMITED", told, parseRetryAfter(headers));
  }
  if (status >= 500 || status === 408) return new AlertError("UNAVAILABLE", told);
  return new AlertError("REFUSED", told);
}
