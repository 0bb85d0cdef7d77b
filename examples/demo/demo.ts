/**
 * The main job end to end, in one command: a server on its embedded database, a strategy
 * over real prices, its signals sent over three protocols, some of them twice and one of
 * them forged, and at last what the database holds. Leaves nothing behind.
 */
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import Table from "cli-table3";
import { pino } from "pino";
import {
  clientOptionsFromEnv,
  createSignalClient,
  type SignalClientOptions,
  SignalError,
  type SignalInput,
} from "../../src/client/index.ts";
import { serverConfigFromEnv, startServer } from "../../src/server/index.ts";
import { generateSecret } from "../../src/signing/index.ts";
import {
  createSignalStore,
  openDatabase,
  type StoredSignal,
  startEmbeddedPostgres,
} from "../../src/store/index.ts";
import { type Price, readPrices } from "./prices.ts";
import { createSenders, type Sender } from "./senders.ts";
import { movingAverageCross } from "./strategy.ts";

/** Every so manieth signal is sent again, over another protocol, as after a lost answer. */
const REPEAT_EVERY = 4;
const ROWS_MAX = 1_000;

/** How one signal went. */
interface Delivery {
  readonly signalId: string;
  readonly protocol: string;
  /** The protocol of the repeat, if there was one that was told as a duplicate. */
  readonly repeatedOver: string | undefined;
}

// An interrupt ends the demo between two steps, so that the database is stopped too.
const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());
process.once("SIGTERM", () => interrupt.abort());
process.once("SIGHUP", () => interrupt.abort());
// So does a reader of the output that has seen enough.
process.stdout.on("error", () => interrupt.abort());

const dataDir = await mkdtemp(join(tmpdir(), "countersign-demo-"));
// Run by root, PostgreSQL works under another account, which has to get in.
await chmod(dataDir, 0o711);
try {
  await demo(dataDir, interrupt.signal);
} catch (error) {
  if (!interrupt.signal.aborted) throw error;
  say("Interrupted.");
  process.exitCode = 130;
} finally {
  await rm(dataDir, { recursive: true, force: true });
}

async function demo(dataDir: string, interrupted: AbortSignal): Promise<void> {
  say("Starting the server on an embedded PostgreSQL …");
  await using parts = new AsyncDisposableStack();
  const env = { DATA_DIR: dataDir, PORT: "0", OPS_PORT: "off", LOG_LEVEL: "silent" };
  const server = await startServer(serverConfigFromEnv(env));
  parts.defer(() => server.close());
  say(`It takes signals at ${server.url}.`);

  const options = await producerOptions(server.producerFile as string);
  const signals = signalsFrom(await readPrices());
  say(`The strategy made ${signals.length} signals from real prices.`);

  const senders = createSenders(options);
  for (const sender of senders) parts.defer(() => sender.close());
  const deliveries = await deliver(signals, senders, interrupted);
  say(await tryForgery(options, signals[0] as SignalInput));

  const rows = await storedSignals(dataDir, parts);
  say(tableOf(rows, deliveries));
  const repeats = deliveries.filter(({ repeatedOver }) => repeatedOver !== undefined).length;
  say(
    `${deliveries.length + repeats} deliveries. ${repeats} were repeats and recognised as duplicates (each took a number, hence the gaps); ${rows.length} signals are stored, each once.`,
  );
}

/** The server wrote the credentials of its first producer into a file. */
async function producerOptions(producerFile: string): Promise<SignalClientOptions> {
  const env = parseEnv(await readFile(producerFile, "utf8"));
  return clientOptionsFromEnv(env) as SignalClientOptions;
}

function signalsFrom(prices: readonly Price[]): SignalInput[] {
  const bySymbol = Map.groupBy(prices, ({ symbol }) => symbol);
  return [...bySymbol.values()].flatMap(movingAverageCross);
}

/** Sends each signal over the next protocol, and some once more over the one after it. */
async function deliver(
  signals: readonly SignalInput[],
  senders: readonly Sender[],
  interrupted: AbortSignal,
): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  for (const [index, signal] of signals.entries()) {
    interrupted.throwIfAborted();
    const sender = senders[index % senders.length] as Sender;
    const other = senders[(index + 1) % senders.length] as Sender;
    const idempotencyKey = `demo-${index}`;
    const { signalId } = await sender.send(signal, idempotencyKey);
    let repeatedOver: string | undefined;
    if (index % REPEAT_EVERY === 0) {
      const repeat = await other.send(signal, idempotencyKey);
      if (!repeat.isDuplicate || repeat.signalId !== signalId) {
        throw new Error(`the repeat of ${signalId} was stored again`);
      }
      repeatedOver = other.protocol;
    }
    deliveries.push({ signalId, protocol: sender.protocol, repeatedOver });
  }
  return deliveries;
}

/** Sends a signal signed with another secret, which must be refused. */
async function tryForgery(options: SignalClientOptions, signal: SignalInput): Promise<string> {
  await using forger = createSignalClient({ ...options, secret: generateSecret() });
  try {
    await forger.ingest(signal);
  } catch (error) {
    const refusal = SignalError.from(error);
    return `A forged signal was refused: ${refusal.reason}.`;
  }
  throw new Error("a forged signal was accepted");
}

/** Reads the database itself, not what the server says of it. */
async function storedSignals(
  dataDir: string,
  parts: AsyncDisposableStack,
): Promise<readonly StoredSignal[]> {
  const log = pino({ level: "silent" });
  const embedded = await startEmbeddedPostgres({ dataDir, log });
  parts.defer(() => embedded.close());
  const database = openDatabase({ url: embedded.url, poolSize: 1, log });
  parts.defer(() => database.close());
  return createSignalStore(database).listSignals({ afterSequence: 0n, limit: ROWS_MAX });
}

function tableOf(rows: readonly StoredSignal[], deliveries: readonly Delivery[]): string {
  const bySignalId = new Map(deliveries.map((delivery) => [delivery.signalId, delivery]));
  const table = new Table({
    head: ["seq", "time", "signal", "entry", "stop", "target", "sent over", "repeat over", "id"],
    style: { head: [], border: [] },
    // No lines between the rows.
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  for (const { sequence, signalId, signal } of rows) {
    const delivery = bySignalId.get(signalId);
    const day = new Date(Number(signal.signalTime / 1_000_000n)).toISOString().slice(0, 10);
    table.push([
      sequence.toString(),
      day,
      `${signal.side} ${signal.instrument}`,
      signal.entryPrice,
      signal.stopLoss,
      signal.takeProfit,
      delivery?.protocol,
      delivery?.repeatedOver ?? "",
      `…${signalId.slice(-12)}`,
    ]);
  }
  return table.toString();
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
