/**
 * Answers that nobody reads do not live for ever, whatever they say.
 */
import net from "node:net";
import { expect, onTestFinished, test } from "vitest";
import * as frames from "../../attacks/support/http2Frames.ts";
import { rawRequest } from "../../attacks/support/rawHttp1.ts";
import { eventually } from "../../support/eventually.ts";
import { startRouter } from "../support/routerServer.ts";
import { framed } from "../support/wire.ts";

const CUT_AFTER_MS = 300;
const WATCH = "/grpc.health.v1.Health/Watch";
/** SETTINGS_INITIAL_WINDOW_SIZE of 0: no answer may have a body (RFC 9113, section 6.5.2). */
const NO_WINDOW = Buffer.from("000400000000", "hex");

async function start() {
  const server = await startRouter(() => Promise.reject(new Error("nothing is ingested here")), {
    unaryCutAfterMs: CUT_AFTER_MS,
  });
  onTestFinished(() => server.close());
  return server;
}

function connect(port: number): net.Socket {
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  return socket;
}

test("over HTTP/2 without a window, only a stream that is open outlasts the limit", async () => {
  const server = await start();
  const socket = connect(server.port);
  socket.resume();
  const requests = [
    [...frames.post("/nothing")],
    [...frames.post("/api/v1/health")],
    [...frames.post("/api/v1/health", "[")],
    [...frames.post(WATCH, "[")],
  ].map((fields, index) => frames.headers(2 * index + 1, fields, frames.END_STREAM));
  const watch = [...frames.post(WATCH), ["content-type", "application/grpc"]] as const;
  socket.write(
    Buffer.concat([
      frames.PREFACE,
      frames.frame(frames.FRAME.settings, 0, 0, NO_WINDOW),
      ...requests,
      frames.headers(9, watch),
      frames.data(9, framed(Buffer.alloc(0)), frames.END_STREAM),
    ]),
  );
  await eventually("four lines", () => server.logLines.length === 4);
  const statuses = server.logLines.map(({ http_status }) => http_status);
  expect(statuses).toEqual([404, 405, 400, 400]);
  for (const { duration_ms } of server.logLines) {
    expect(duration_ms).toBeGreaterThan(CUT_AFTER_MS - 50);
  }
  await new Promise((resolve) => setTimeout(resolve, 2 * CUT_AFTER_MS));
  expect(server.logLines).toHaveLength(4);
  socket.destroy();
  await eventually("the line of the watch", () => server.logLines.length === 5);
});

test("over HTTP/1.1, requests whose answers are never read end with their connection", async () => {
  const server = await start();
  const socket = connect(server.port);
  // Far more answers than fit between the two ends.
  const request = rawRequest("GET /nothing HTTP/1.1", [["host", "a"]]);
  socket.write(Buffer.concat(Array.from({ length: 100_000 }, () => request)));
  const isCut = () => server.logLines.some(({ msg }) => msg === "request aborted");
  await eventually("the cut", isCut);
});
