/**
 * Batches that are cheap to send and dear to read, from a producer that is who it says: others
 * are served meanwhile, and memory stays bounded.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { type JsonObject, signalToProto } from "../../src/signal/index.ts";
import { fileDatabase } from "../support/serveFile.ts";
import { type ServerProcess, spawnServer, testHeaders, testServerEnv } from "../support/server.ts";
import { restBody, validSignal } from "../support/signals.ts";

const BATCH_PATH = "/signals.v1.IngestService/IngestBatch";
const REST_PATH = "/api/v1/signals/ingest";
const BATCH_MAX_BYTES = 4 * 1024 * 1024;
const RSS_MAX_BYTES = 350 * 1024 * 1024;

const database = fileDatabase();
let server: ServerProcess;

beforeAll(async () => {
  server = await spawnServer({
    ...testServerEnv(database.url),
    // As "npm start" does.
    NODE_OPTIONS: "--max-semi-space-size=8 --max-old-space-size=1024",
  });
});

afterAll(() => server.stop());

/** A batch in JSON of as many of these payloads as fit, each a list of this value. */
function jsonBatch(value: string, count: number): Buffer {
  const payload = `{"a":[${Array(count).fill(value).join(",")}]}`;
  const signal = `{"instrument":"GOLD","side":"SIDE_BUY","entryPrice":1,"signalTime":"2025-10-25T14:30:45Z","payload":${payload}}`;
  const item = `{"signal":${signal}}`;
  const items = Math.floor((BATCH_MAX_BYTES - 100) / (item.length + 1));
  return Buffer.from(`{"requests":[${Array(items).fill(item).join(",")}]}`);
}

/** The same in protobuf. */
function binaryBatch(value: JsonObject[string], count: number): Uint8Array {
  const signal = signalToProto(validSignal({ payload: { a: Array(count).fill(value) } }));
  const request = create(IngestRequestSchema, { signal });
  const item = new BinaryWriter()
    .tag(IngestBatchRequestSchema.field.requests.number, WireType.LengthDelimited)
    .bytes(toBinary(IngestRequestSchema, request))
    .finish();
  return Buffer.concat(Array(Math.floor(BATCH_MAX_BYTES / item.length)).fill(item));
}

async function post(path: string, body: Uint8Array, contentType: string): Promise<number> {
  const response = await fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": contentType, ...testHeaders(path, body) },
    body: Buffer.from(body),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Sends honest signals, one after the other, until it is told to stop. @returns their statuses. */
async function honestStatuses(isOver: () => boolean): Promise<number[]> {
  const statuses: number[] = [];
  while (!isOver()) {
    statuses.push(await post(REST_PATH, Buffer.from(restBody()), "application/json"));
  }
  return statuses;
}

/** The most memory that the server ever held (proc(5), "VmHWM"). */
async function peakRssBytes(): Promise<number> {
  const status = await readFile(`/proc/${server.child.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

const VALUES_MAX = 8_000;

test("a valid batch of as many values as there may be is stored while others are served", async () => {
  const body = binaryBatch({}, VALUES_MAX - 1);
  let isOver = false;
  const honest = honestStatuses(() => isOver);
  const status = await post(BATCH_PATH, body, "application/proto").finally(() => {
    isOver = true;
  });
  const statuses = await honest;

  expect(status).toBe(200);
  expect(new Set(statuses)).toEqual(new Set([201]));
  // Read at a stretch, such a batch lets two others through.
  expect(statuses.length).toBeGreaterThan(8);
});

test("48 connections with batches of too many values leave memory bounded and others served", async () => {
  const bodies = [jsonBatch("{}", 10_900), binaryBatch({}, 10_900)] as const;
  const types = ["application/json", "application/proto"] as const;
  let isOver = false;
  const honest = honestStatuses(() => isOver);
  const statuses = await Promise.all(
    Array.from({ length: 48 }, async (_, connection) => {
      await sleep(connection * 20);
      const kind = connection % 2;
      return post(BATCH_PATH, bodies[kind] as Uint8Array, types[kind] as string);
    }),
  );
  isOver = true;
  const honestOnes = await honest;

  // Each item is rejected, or the server has enough under way.
  for (const status of statuses) expect([200, 503, 504]).toContain(status);
  expect(statuses).toContain(200);
  expect(new Set(honestOnes)).toEqual(new Set([201]));
  // Most batches are refused at once, so that it takes only a second or two.
  expect(honestOnes.length).toBeGreaterThan(2);
  expect(await peakRssBytes()).toBeLessThan(RSS_MAX_BYTES);
}, 120_000);
