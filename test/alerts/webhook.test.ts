import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  AlertError,
  ConfigError,
  createWebhookSink,
  type WebhookOptions,
} from "../../src/client/index.ts";
import { listen } from "../support/listen.ts";
import { alertOf, eventually, fakeTimers, never, passTime, shown } from "./support.ts";

const PATH = "/hooks/planted-path-secret?token=planted-query-secret";

type Answer =
  | "hang"
  | "reset"
  | { readonly status: number; readonly headers?: Record<string, string> };

/** A program that takes alerts. Answers 204, but first each of `answers` once. */
async function startWebhook(...answers: Answer[]) {
  const posts: {
    readonly url: string | undefined;
    readonly type: string | undefined;
    readonly body: unknown;
    readonly atMs: number;
  }[] = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const type = request.headers["content-type"];
    posts.push({ url: request.url, type, body: JSON.parse(body), atMs: Date.now() });
    const answer = answers.shift() ?? { status: 204 };
    if (answer === "reset") request.socket.resetAndDestroy();
    else if (answer !== "hang") response.writeHead(answer.status, answer.headers).end();
  });
  const listening = await listen(server);
  return { ...listening, url: `${listening.url}${PATH}`, posts };
}

beforeEach(fakeTimers);
afterEach(() => vi.useRealTimers());

/** Sends an alert that fails. @returns the error, which shows no part of the path. */
async function failureOf(options: WebhookOptions): Promise<AlertError> {
  const sink = createWebhookSink(options);
  const error = await sink.send(alertOf(), never()).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AlertError);
  expect(shown(error) + shown(sink)).not.toContain("planted");
  return error as AlertError;
}

it("gets kind, text, time and host as JSON", async () => {
  await using webhook = await startWebhook();
  const sink = createWebhookSink({ url: webhook.url, host: "host-1" });
  await sink.send(alertOf("<b>\ud800 😀"), never());
  const body = {
    kind: "owner",
    text: "<b>\ufffd 😀",
    time: "2025-10-25T14:30:45.123Z",
    host: "host-1",
  };
  expect(webhook.posts).toMatchObject([{ url: PATH, type: "application/json", body }]);
});

describe("a passing failure", () => {
  it.each([{ status: 500 }, { status: 503 }, { status: 408 }, { status: 429 }, "reset"] as const)(
    "%j is repeated",
    async (answer) => {
      await using webhook = await startWebhook(answer, answer);
      const sent = createWebhookSink({ url: webhook.url }).send(alertOf(), never());
      await passTime(() => webhook.posts.length === 3);
      await sent;
    },
  );

  it("that names a pause is repeated after it", async () => {
    await using webhook = await startWebhook({ status: 429, headers: { "retry-after": "9" } });
    const sent = createWebhookSink({ url: webhook.url }).send(alertOf(), never());
    await passTime(() => webhook.posts.length === 2);
    await sent;
    const [first, second] = webhook.posts.map(({ atMs }) => atMs);
    expect(Number(second) - Number(first)).toBeGreaterThanOrEqual(9_000);
  });

  it("that is a hang is given up after ten seconds", async () => {
    await using webhook = await startWebhook("hang");
    const failing = failureOf({ url: webhook.url, retries: 0 });
    await eventually(() => webhook.posts.length === 1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await failing).reason).toBe("TIMEOUT");
  });

  it("that stays is told in the end", async () => {
    await using webhook = await startWebhook({ status: 502 });
    const error = await failureOf({ url: webhook.url, retries: 0 });
    expect(error.message).toBe("[UNAVAILABLE] The webhook answered 502.");
    const { url } = webhook;
    await webhook[Symbol.asyncDispose]();
    const gone = await failureOf({ url, retries: 0 });
    expect(gone.message).toBe("[UNREACHABLE] The webhook cannot be reached (ECONNREFUSED).");
  });
});

describe("a final failure", () => {
  it.each([400, 401, 404, 410])("%d is not repeated", async (status) => {
    await using webhook = await startWebhook({ status });
    const error = await failureOf({ url: webhook.url });
    expect(error.message).toBe(`[REFUSED] The webhook answered ${status}.`);
    expect(webhook.posts).toHaveLength(1);
  });

  it.each([302, 307])("is a redirect by %d, which is not followed", async (status) => {
    await using other = await startWebhook();
    await using webhook = await startWebhook({ status, headers: { location: other.url } });
    expect((await failureOf({ url: webhook.url })).reason).toBe("REFUSED");
    expect(other.posts).toEqual([]);
  });
});

it.each([
  ["http://example.com/planted", "must be https"],
  ["ftp://planted.example.com", "must be an https URL"],
  ["planted", "must begin with https://"],
  ["https://planted:planted@example.com", "must hold no user name"],
  ["https://example.com/#planted", "must have no fragment"],
  [undefined, "is required"],
  [7, "must be text"],
])("does not take %s for its URL, and does not repeat it", (url, rule) => {
  expect(() => createWebhookSink({ url } as WebhookOptions)).toThrow(ConfigError);
  expect(() => createWebhookSink({ url } as WebhookOptions)).toThrow(rule);
  expect(() => createWebhookSink({ url } as WebhookOptions)).not.toThrow("planted");
});
