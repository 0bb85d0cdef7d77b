/**
 * The load generator: a process of its own, so that what it costs is told apart from what
 * it measures. It takes one {@link LoadJob} as its argument and prints one
 * {@link LoadReport}.
 */
import { performance } from "node:perf_hooks";
import { Secret } from "../../src/signing/index.ts";
import { cpuSeconds, rssBytes } from "../lab/processTree.ts";
import { quantile } from "../lab/statistics.ts";
import { insertTransport, storeTransport } from "./databaseTransports.ts";
import { grpcTransport } from "./grpcTransport.ts";
import type { Latency, LoadJob, LoadReport, Target } from "./job.ts";
import { jsonTransport } from "./jsonTransport.ts";
import { closedLoop, openLoop, type Passage, pairedLoop } from "./loops.ts";
import { makeSignal } from "./signals.ts";
import type { Exchange, Transport } from "./transport.ts";

const RSS_INTERVAL_MS = 1_000;
/** Of a plan that is not a closed loop: enough for the compiler to have seen the code. */
const WARM_UP_CONCURRENCY = 16;
const WARM_UP_PAIRS = 50;

/** What was sent in the time that counts, and what was acknowledged before it. */
interface Sending {
  readonly warmUpAcknowledged: number;
  readonly passage: Passage;
  readonly other?: Passage;
}

const job = JSON.parse(process.argv[2] as string) as LoadJob;
process.stdout.write(JSON.stringify(await runJob(job)));

async function runJob(job: LoadJob): Promise<LoadReport> {
  const transport = await openTransport(job.target, job);
  try {
    switch (job.plan.kind) {
      case "closed":
        return await sendClosed(job, job.plan, transport);
      case "sustained":
        return await sendSustained(job, job.plan, transport);
      case "open":
        return await sendOpen(job, job.plan, transport);
      case "paired":
        return await sendPaired(job, job.plan, transport);
    }
  } finally {
    await transport.close();
  }
}

async function openTransport(target: Target, job: LoadJob): Promise<Transport> {
  const { producerId } = job;
  const credentials = { producerId, secret: Secret.fromString(job.secret) };
  switch (target.kind) {
    case "json":
      return jsonTransport(target.url, credentials);
    case "grpc":
      return await grpcTransport(target.url, credentials);
    case "insert":
      return insertTransport(target.databaseUrl, producerId);
    case "store":
      return storeTransport(target.databaseUrl, producerId);
  }
}

type PlanOf<Kind extends LoadJob["plan"]["kind"]> = Extract<LoadJob["plan"], { kind: Kind }>;

async function sendClosed(
  { durationMs, warmUpMs, watched }: LoadJob,
  { concurrency, signalsPerRequest, preparedPerSecond }: PlanOf<"closed">,
  transport: Transport,
): Promise<LoadReport> {
  const perMs = preparedPerSecond / signalsPerRequest / 1_000;
  const requests = Math.ceil(perMs * (warmUpMs + durationMs));
  const exchanges = prepared(transport, requests, signalsPerRequest).values();
  const next = () => exchanges.next().value;
  const warmUp = await closedLoop(next, concurrency, warmUpMs);
  return watch(watched, async () => ({
    warmUpAcknowledged: warmUp.acknowledged,
    passage: await closedLoop(next, concurrency, durationMs),
  }));
}

async function sendSustained(
  { durationMs, watched }: LoadJob,
  { concurrency }: PlanOf<"sustained">,
  transport: Transport,
): Promise<LoadReport> {
  const next = () => transport.prepare([makeSignal()]);
  return watch(watched, async () => ({
    warmUpAcknowledged: 0,
    passage: await closedLoop(next, concurrency, durationMs),
  }));
}

async function sendOpen(
  { durationMs, warmUpMs, watched }: LoadJob,
  { ratePerSecond }: PlanOf<"open">,
  transport: Transport,
): Promise<LoadReport> {
  const exchanges = prepared(transport, Math.ceil((ratePerSecond * durationMs) / 1_000), 1);
  const next = () => transport.prepare([makeSignal()]);
  const warmUp = await closedLoop(next, WARM_UP_CONCURRENCY, warmUpMs);
  return watch(watched, async () => ({
    warmUpAcknowledged: warmUp.acknowledged,
    passage: await openLoop(exchanges, ratePerSecond),
  }));
}

async function sendPaired(
  job: LoadJob,
  { other, pairs, pauseMs }: PlanOf<"paired">,
  transport: Transport,
): Promise<LoadReport> {
  const otherTransport = await openTransport(other, job);
  try {
    const exchanges = prepared(transport, WARM_UP_PAIRS + pairs, 1);
    const otherExchanges = prepared(otherTransport, WARM_UP_PAIRS + pairs, 1);
    const all = exchanges.map((one, i) => [one, otherExchanges[i] as Exchange] as const);
    const next = () => transport.prepare([makeSignal()]);
    const busy = await closedLoop(next, WARM_UP_CONCURRENCY, job.warmUpMs);
    const warmUp = await pairedLoop(all.slice(0, WARM_UP_PAIRS), 0);
    const warmUpAcknowledged =
      busy.acknowledged + warmUp.first.acknowledged + warmUp.second.acknowledged;
    return await watch(job.watched, async () => {
      const { first, second } = await pairedLoop(all.slice(WARM_UP_PAIRS), pauseMs);
      return { warmUpAcknowledged, passage: first, other: second };
    });
  } finally {
    await otherTransport.close();
  }
}

/** Distinct requests, made and signed before any clock starts. */
function prepared(transport: Transport, requests: number, signalsPerRequest: number): Exchange[] {
  return Array.from({ length: requests }, () =>
    transport.prepare(Array.from({ length: signalsPerRequest }, makeSignal)),
  );
}

/** Counts CPU time and memory while it sends. */
async function watch(
  watched: LoadJob["watched"],
  send: () => Promise<Sending>,
): Promise<LoadReport> {
  const serverRssBytes: number[] = [];
  const sampling = setInterval(() => {
    const bytes = rssBytes(watched.server);
    if (bytes !== undefined) serverRssBytes.push(bytes);
  }, RSS_INTERVAL_MS);
  const before = cpuNow(watched);
  const loopBefore = performance.eventLoopUtilization();
  const { warmUpAcknowledged, passage, other } = await send();
  const { utilization } = performance.eventLoopUtilization(loopBefore);
  const after = cpuNow(watched);
  clearInterval(sampling);
  return {
    acknowledgedInAll: warmUpAcknowledged + passage.acknowledged + (other?.acknowledged ?? 0),
    acknowledged: passage.acknowledged,
    seconds: passage.seconds,
    latency: latencyOf(passage),
    otherLatency: other && latencyOf(other),
    cpuSeconds: {
      load: after.load - before.load,
      server: difference(after.server, before.server),
      postgres: difference(after.postgres, before.postgres),
    },
    loopUtilization: utilization,
    isCutShort: passage.isCutShort,
    serverRssBytes,
  };
}

function cpuNow({ server, postgres }: LoadJob["watched"]) {
  const { user, system } = process.cpuUsage();
  return {
    load: (user + system) / 1e6,
    server: cpuSeconds(server),
    postgres: cpuSeconds(postgres),
  };
}

function difference(after: number | undefined, before: number | undefined): number | undefined {
  return after === undefined || before === undefined ? undefined : after - before;
}

function latencyOf({ latenciesMs }: Passage): Latency {
  const sorted = Float64Array.from(latenciesMs).sort();
  return { p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
}
