/**
 * Tells people, the log and the metrics when the circuit changes.
 */
import type { Alerts } from "../alerts/alerts.ts";
import type { CircuitObserver, CircuitState } from "../retry/circuit.ts";
import type { SignalError } from "../signalError.ts";
import type { ReportOptions } from "./callReport.ts";

/** Where to report, and about which server. */
export interface CircuitReportOptions extends ReportOptions {
  readonly alerts: Alerts | undefined;
  /** The server's host and port. */
  readonly host: string;
}

/**
 * Follows the circuit of one client. A person hears of an outage once when it begins and
 * once when it ends; probes that fail in between are not news.
 */
export class CircuitReport implements CircuitObserver {
  readonly #options: CircuitReportOptions;
  #state: CircuitState | undefined = "closed";

  constructor(options: CircuitReportOptions) {
    this.#options = options;
    options.metrics.circuitChanged(undefined, "closed");
  }

  changed(from: CircuitState, to: CircuitState, cause: SignalError | undefined): void {
    if (this.#state === undefined) return;
    this.#options.metrics.circuitChanged(from, to);
    this.#state = to;
    if (from === "closed" && to === "open") this.#opened(cause);
    if (to === "closed") this.#closed();
  }

  /** The client is gone, and its circuit is counted no more. */
  end(): void {
    if (this.#state !== undefined) this.#options.metrics.circuitChanged(this.#state, undefined);
    this.#state = undefined;
  }

  #opened(cause: SignalError | undefined): void {
    const { producerId, host, logger } = this.#options;
    const facts = { producer_id: producerId, host, reason: cause?.reason, error: cause?.message };
    logger.warn(facts, "the server does not work; the circuit is open");
    const text = `The server ${host} does not work, so ${producerId} leaves it alone and tries again from time to time. Last failure: ${cause?.message}`;
    this.#alert("circuit_opened", text);
  }

  #closed(): void {
    const { producerId, host, logger } = this.#options;
    logger.info({ producer_id: producerId, host }, "the server works again; the circuit is closed");
    this.#alert("circuit_closed", `The server ${host} works again for ${producerId}.`);
  }

  /** No alert delays or ends a call, whatever an implementation does against its contract. */
  #alert(kind: "circuit_opened" | "circuit_closed", text: string): void {
    const { alerts, logger } = this.#options;
    const send = async () => alerts?.send(kind, text);
    send().catch(() => logger.error({ kind, text }, "an alert could not be sent"));
  }
}
