/**
 * An attack on a server, and beside it an honest client that measures how it is served.
 * `ATTACK_SECONDS` makes each attack last longer than in the ordinary tests.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import http2 from "node:http2";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { bodies, framed, INGEST_PATH, REST_PATH } from "../../server/support/wire.ts";
import { type ServerProcess, testHeaders } from "../../support/server.ts";
import type { AttackName } from "./attacks.ts";

const ATTACK_PROCESS = fileURLToPath(new URL("attackProcess.ts", import.meta.url));
const ATTACK_MS = Number(process.env.ATTACK_SECONDS ?? 2) * 1_000;
/** An attack that is at its full size gets so long before anything is measured. */
const HEAD_START_MS = 500;
const PAUSE_MS = 20;
/** One that was not answered by then is as good as lost. */
const PATIENCE_MS = 15_000;
const ATTEMPTS_MAX = 4;

/** What became of an honest client's requests during an attack. */
export interface SiegeReport {
  /** Signals that were stored and acknowledged, and watches that were told the state. */
  readonly served: number;
  /** Those that were not, after several attempts. */
  readonly lost: number;
  /** Attempts that failed, most of which the next made good. */
  readonly failedAttempts: number;
  /** How often the connection that is kept, and proven by its first signal, was lost. */
  readonly reconnects: number;
  /** How long one took, its repetitions included. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The most memory that the server has held since its start. */
  readonly peakRssMib: number;
}

/** Asks for one thing. @throws Error if it was not answered with success. */
type Send = () => Promise<void>;

/**
 * Lets an attack go on for a while, and meanwhile sends signals, over a connection that is
 * kept and over a new one for each, and watches the server's health.
 *
 * @param from where the attack comes from. The honest client is at 127.0.0.1.
 */
export async function besiege(
  server: ServerProcess,
  name: AttackName,
  from: string,
): Promise<SiegeReport> {
  const args = [ATTACK_PROCESS, name, `${server.port}`, from];
  const attack = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  // The attacker would have a machine of its own, and is not to take the server's share of this.
  os.setPriority(attack.pid as number, os.constants.priority.PRIORITY_LOW);
  const kept = grpcSender(server.url);
  try {
    await kept.send();
    await once(attack.stdout, "data");
    await sleep(HEAD_START_MS);
    const durationsMs: number[] = [];
    const counts = { lost: 0, failedAttempts: 0 };
    const endMs = performance.now() + ATTACK_MS;
    await Promise.all(
      [kept.send, restSender(server.port), watcher(server.url)].map(async (send) => {
        while (performance.now() < endMs) {
          const durationMs = await deliver(send, counts);
          if (durationMs === undefined) counts.lost += 1;
          else durationsMs.push(durationMs);
          await sleep(PAUSE_MS);
        }
      }),
    );
    durationsMs.sort((a, b) => a - b);
    const quantile = (share: number) =>
      Math.round(durationsMs[Math.floor(share * (durationsMs.length - 1))] ?? Number.NaN);
    const report: SiegeReport = {
      served: durationsMs.length,
      ...counts,
      reconnects: kept.reconnects(),
      p50Ms: quantile(0.5),
      p99Ms: quantile(0.99),
      maxMs: quantile(1),
      peakRssMib: await peakRssMib(server.child.pid as number),
    };
    process.stderr.write(
      `${name} from ${from}, ${ATTACK_MS / 1_000} s: ${JSON.stringify(report)}\n`,
    );
    return report;
  } finally {
    kept.close();
    const end = once(attack, "exit");
    attack.kill("SIGKILL");
    await end;
  }
}

/** @returns how long it took, or `undefined` if it was given up. */
async function deliver(
  send: Send,
  counts: { failedAttempts: number },
): Promise<number | undefined> {
  const startMs = performance.now();
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    try {
      await send();
      return performance.now() - startMs;
    } catch {
      counts.failedAttempts += 1;
      await sleep(PAUSE_MS);
    }
  }
  return undefined;
}

/** Signals over REST, each over a connection of its own. */
function restSender(port: number): Send {
  return () =>
    new Promise((resolve, reject) => {
      const body = bodies().rest;
      const headers = { "content-type": "application/json", ...testHeaders(REST_PATH, body) };
      const options = { port, path: REST_PATH, method: "POST", headers, agent: false };
      const request = http.request({ host: "127.0.0.1", ...options }, (response) => {
        response.resume();
        if (response.statusCode === 201) response.once("end", resolve);
        else reject(new Error(`HTTP ${response.statusCode}`));
      });
      request.setTimeout(PATIENCE_MS, () => request.destroy(new Error("no answer in time")));
      request.once("error", reject);
      request.end(body);
    });
}

/** Signals over gRPC, over one connection for as long as it lasts. */
function grpcSender(url: string): {
  readonly send: Send;
  /** How often the connection was lost. */
  reconnects(): number;
  close(): void;
} {
  let session: http2.ClientHttp2Session | undefined;
  let connects = 0;
  function connected(): http2.ClientHttp2Session {
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    connects += 1;
    session = http2.connect(url);
    session.on("error", () => undefined);
    return session;
  }
  return {
    reconnects: () => connects - 1,
    send: () =>
      new Promise((resolve, reject) => {
        const body = bodies().binary;
        const headers = { "content-type": "application/grpc", te: "trailers" };
        const stream = connected().request({
          ":method": "POST",
          ":path": INGEST_PATH,
          ...headers,
          ...testHeaders(INGEST_PATH, body),
        });
        let status: unknown;
        stream.on("response", (answer) => {
          status ??= answer["grpc-status"];
        });
        stream.on("trailers", (trailers) => {
          status ??= trailers["grpc-status"];
        });
        stream.setTimeout(PATIENCE_MS, () => stream.close());
        stream.resume();
        stream.once("error", reject);
        stream.once("close", () => {
          if (status === "0") resolve();
          else reject(new Error(`gRPC status ${status}`));
        });
        stream.end(framed(body));
      }),
    close: () => session?.destroy(),
  };
}

/** Watches of the health service that last until the state is told, each on a new connection. */
function watcher(url: string): Send {
  return () =>
    new Promise((resolve, reject) => {
      const session = http2.connect(url);
      session.on("error", () => undefined);
      const path = "/grpc.health.v1.Health/Watch";
      const headers = { "content-type": "application/grpc", te: "trailers" };
      const stream = session.request({ ":method": "POST", ":path": path, ...headers });
      stream.setTimeout(PATIENCE_MS, () => stream.close());
      stream.once("data", () => {
        resolve();
        session.destroy();
      });
      stream.on("error", () => undefined);
      stream.once("close", () => {
        session.destroy();
        reject(new Error("no state was told"));
      });
      stream.end(framed(Buffer.alloc(0)));
    });
}

/** What Linux has counted (proc(5), VmHWM). */
async function peakRssMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
}
