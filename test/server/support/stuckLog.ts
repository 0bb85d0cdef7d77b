/**
 * A process whose log is stuck: it writes to a pipe that is full as if that were a file,
 * whose writes wait in another thread. Then it ends by itself.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LogDestination } from "../../../src/server/ops/logDestination.ts";

const log = new LogDestination({
  output: { fd: 1, isBlocking: true, chunkMaxBytes: 64 * 1024 },
  monotonicMs: () => performance.now(),
  onRecovered: () => undefined,
});
log.write("one\n");
await sleep(100);
log.write("two\n");
await log.end(1_500);
process.exit(0);
