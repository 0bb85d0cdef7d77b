/**
 * A process that uses an embedded PostgreSQL, for tests to start, kill and end.
 *
 *     node embeddedProcess.ts <DATA_DIR>
 *
 * Prints one line of JSON when the server is ready, or when it failed. Leaves when its
 * standard input ends.
 */
import { once } from "node:events";
import { pino } from "pino";
import { startEmbeddedPostgres } from "../../src/store/embedded.ts";

const dataDir = process.argv[2] ?? "";
const log = pino({ level: "silent" });
try {
  const server = await startEmbeddedPostgres({ dataDir, log });
  process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
  process.stdin.resume();
  await once(process.stdin, "end");
  await server.close();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: String(error) })}\n`);
  process.exitCode = 1;
}
