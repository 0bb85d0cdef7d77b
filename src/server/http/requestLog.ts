/**
 * What the log tells of requests: one line for each whose sender is proven. Anyone can make
 * requests without a proof, as many as a network carries, so of those only so many a second
 * have a line of their own, and one line a second says how many more there were.
 */
import type { Logger } from "pino";
import type { NodeRequest, NodeResponse } from "./nodeHttp.ts";
import type { RequestRecord } from "./requestRecord.ts";

/** The request lines of one port. */
export interface RequestLog {
  requestDone(request: DoneRequest): void;
  /** A request failed by a fault of the server. */
  requestFailed(record: RequestRecord, error: unknown): void;
  /** Tells of what was left out since it was last told. */
  close(): void;
}

/** A request that is done. */
export interface DoneRequest {
  readonly request: NodeRequest;
  readonly response: NodeResponse;
  readonly record: RequestRecord;
  /** Without the query string, in which callers tend to put secrets. */
  readonly path: string;
  /** Whether the caller got the answer to its end. */
  readonly isAnswered: boolean;
  readonly durationMs: number;
}

/** What {@link createRequestLog} is told. */
export interface RequestLogOptions {
  readonly log: Logger;
  readonly monotonicMs: () => number;
  /** Told of each line that is left out, for metrics. */
  readonly onLeftOut?: () => void;
  /** How many lines a second requests without a proof have, of each level. Default 100. */
  readonly unprovenPerSecond?: number;
}

const UNPROVEN_PER_SECOND = 100;
const LOGGED_PATH_MAX_LENGTH = 200;
const LOGGED_METHOD_MAX_LENGTH = 20;

/** Makes the request log of one port. */
export function createRequestLog(options: RequestLogOptions): RequestLog {
  const { log } = options;
  const requests = limitLines(options, (count) =>
    log.info({ left_out: count }, "requests without a proven sender, beyond those told one by one"),
  );
  // Apart, so that nobody can hide a fault behind many requests.
  const faults = limitLines(options, (count) =>
    log.error(
      { left_out: count },
      "faults of requests without a proven sender, beyond those told one by one",
    ),
  );
  return {
    requestDone(done) {
      const isFault = done.record.reason === "INTERNAL";
      if (!isTold(done.record, isFault ? faults : requests)) return;
      if (isFault) log.error(requestLine(done), "request");
      else log.info(requestLine(done), done.isAnswered ? "request" : "request aborted");
    },

    requestFailed(record, error) {
      if (!isTold(record, faults)) return;
      log.error({ err: error, request_id: record.requestId }, "request failed");
    },

    close() {
      requests.tell();
      faults.tell();
    },
  };
}

function isTold({ producerId, token }: RequestRecord, lines: LineLimit): boolean {
  return producerId !== undefined || token !== undefined || lines.take();
}

/** Lines that there may be so many of in a second. */
interface LineLimit {
  /** Takes one line. @returns whether it may be written. */
  take(): boolean;
  /** Tells how many were not, if any, since that was last told. */
  tell(): void;
}

/** @param onLeftOut told how many lines were left out, once a second at most. */
function limitLines(options: RequestLogOptions, onLeftOut: (count: number) => void): LineLimit {
  const { monotonicMs, unprovenPerSecond = UNPROVEN_PER_SECOND } = options;
  let windowEndMs = 0;
  let taken = 0;
  let leftOut = 0;
  let timer: NodeJS.Timeout | undefined;
  function tell(): void {
    clearTimeout(timer);
    timer = undefined;
    if (leftOut > 0) onLeftOut(leftOut);
    leftOut = 0;
  }
  return {
    take() {
      const nowMs = monotonicMs();
      if (nowMs >= windowEndMs) {
        windowEndMs = nowMs + 1_000;
        taken = 0;
      }
      taken += 1;
      if (taken <= unprovenPerSecond) return true;
      leftOut += 1;
      options.onLeftOut?.();
      timer ??= setTimeout(tell, 1_000).unref();
      return false;
    },
    tell,
  };
}

function requestLine({ request, response, record, path, durationMs }: DoneRequest): object {
  return {
    request_id: record.requestId,
    protocol: record.protocol,
    http_version: request.httpVersion,
    method: request.method?.slice(0, LOGGED_METHOD_MAX_LENGTH),
    path: path.slice(0, LOGGED_PATH_MAX_LENGTH),
    http_status: response.headersSent ? response.statusCode : undefined,
    reason: record.reason,
    producer_id: record.producerId,
    token_id: record.token?.tokenId,
    token_name: record.token?.name,
    signal_id: record.signalId,
    stored: record.stored,
    duplicates: record.duplicates,
    refused: record.refused,
    duration_ms: Math.round(durationMs * 1_000) / 1_000,
  };
}
