/**
 * Web pages of other sites, in a real browser of somebody who is on this machine: whatever they
 * have it send to either port, also under a name of their own that resolves here (DNS
 * rebinding), nothing is done and nothing is told.
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { pathOf } from "../server/support/closedCalls.ts";
import { addTokens, aToken } from "../server/support/tokens.ts";
import { REST_PATH } from "../server/support/wire.ts";
import { eventually } from "../support/eventually.ts";
import { CHROMIUM, openPage, type Page } from "./support/browser.ts";
import { attackedServer, expectNoRow } from "./support/target.ts";

const EVIL = "evil.example";
const CREATE = pathOf(ProducerService.method.createProducer);
const LIST = pathOf(ProducerService.method.listProducers);
// The worst case: the page even knows a token.
const admin = aToken();
const target = attackedServer({
  prepare: (databaseUrl) => addTokens(databaseUrl, [admin]),
  secrets: () => [admin.text],
});

/** JavaScript that asks for something. It tells the status and the text that a page can read. */
function asking(url: string, options: object): string {
  return `fetch(${JSON.stringify(url)}, ${JSON.stringify(options)})
    .then(async (r) => r.type + " " + r.status + " " + await r.text(), (e) => String(e))`;
}

const BODY = JSON.stringify({ producerId: "from-a-page" });
const authorization = `Bearer ${admin.text}`;
const json = { "content-type": "application/json" };

describe.skipIf(CHROMIUM === undefined)("a page of another site", { timeout: 180_000 }, () => {
  let page: Page;
  let site: http.Server;
  let siteUrl: string;
  beforeAll(async () => {
    site = http.createServer((_, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>evil</title><body>");
    });
    await new Promise<void>((listening) => site.listen(0, "127.0.0.1", listening));
    siteUrl = `http://${EVIL}:${(site.address() as AddressInfo).port}/`;
    page = await openPage([EVIL]);
  }, 120_000);
  afterAll(async () => {
    await page?.close();
    site.closeAllConnections();
    site.close();
  });

  /** Waits until the log says that a request came, and how it was answered. */
  async function expectRefused(path: string, since: number): Promise<void> {
    const came = () =>
      target.server
        .logLines()
        .slice(since)
        .filter((line) => line.path === path);
    await eventually(`${path} is asked for`, () => came().length > 0);
    for (const line of came()) expect(Number(line.http_status)).toBeGreaterThanOrEqual(400);
  }

  test("calls nothing by fetch, with or without a token", async () => {
    await page.open(siteUrl);
    const calls = [
      { method: "POST", headers: { ...json, authorization }, body: BODY },
      { method: "POST", headers: json, body: BODY, credentials: "include" },
      { method: "POST", headers: { "content-type": "text/plain" }, body: BODY },
      { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: BODY },
      { method: "POST", mode: "no-cors", credentials: "include", body: BODY },
    ];
    await expectNoRow(target.sql, async () => {
      for (const options of calls) {
        const since = target.server.logLines().length;
        const seen = await page.run(asking(target.opsUrl + CREATE, options));
        expect(seen).toMatch(/^(?:TypeError: Failed to fetch|opaque 0 )$/);
        await expectRefused(CREATE, since);
      }
      for (const options of calls) {
        const since = target.server.logLines().length;
        const seen = await page.run(asking(target.url + REST_PATH, options));
        expect(seen).toMatch(/^(?:TypeError: Failed to fetch|opaque 0 )$/);
        await expectRefused(REST_PATH, since);
      }
    });
  });

  test("reads nothing, by fetch, as an image or as a script", async () => {
    await page.open(siteUrl);
    for (const path of ["/metrics", "/api/v1/ready"]) {
      const since = target.server.logLines().length;
      expect(await page.run(asking(target.opsUrl + path, {}))).toMatch(/^TypeError/);
      const load = (tag: string) => `new Promise((done) => {
        const it = document.createElement("${tag}");
        it.onload = () => done("loaded");
        it.onerror = () => done("failed");
        it.src = ${JSON.stringify(target.opsUrl + path)};
        document.body.append(it);
      })`;
      expect(await page.run(load("img"))).toBe("failed");
      expect(await page.run(load("script"))).toBe("failed");
      await expectRefused(path, since);
    }
  });

  test("sends no form", async () => {
    await page.open(siteUrl);
    await expectNoRow(target.sql, async () => {
      for (const enctype of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
      ]) {
        const since = target.server.logLines().length;
        await page.run(`new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.name = "in" + Math.random();
          const form = document.createElement("form");
          Object.assign(form, { method: "POST", target: frame.name, enctype: "${enctype}",
            action: ${JSON.stringify(target.opsUrl + CREATE)} });
          const input = document.createElement("input");
          Object.assign(input, { name: '{"producerId":"from-a-form","displayName":"', value: '"}' });
          form.append(input);
          document.body.append(frame, form);
          frame.onload = () => done();
          form.submit();
          setTimeout(done, 3000);
        })`);
        await expectRefused(CREATE, since);
      }
    });
  });

  test("gets nothing under a name of its own that resolves here", async () => {
    const rebound = `http://${EVIL}:${new URL(target.opsUrl).port}`;
    await expectNoRow(target.sql, async () => {
      const since = target.server.logLines().length;
      await page.open(`${rebound}/metrics`);
      expect(await page.run("document.body.innerText")).toContain("must name this machine");
      // The browser now takes all of the port for the page's own site.
      const options = { method: "POST", headers: { ...json, authorization }, body: BODY };
      expect(await page.run(asking(`${rebound}${CREATE}`, options))).toMatch(/^basic 400 /);
      expect(await page.run(asking(`${rebound}/metrics`, {}))).toMatch(/^basic 400 /);
      for (const path of ["/metrics", CREATE]) await expectRefused(path, since);
    });
  });

  test("is no page of this port, which is served", async () => {
    await page.open(`${target.opsUrl}/api/v1/health`);
    const options = { method: "POST", headers: { ...json, authorization }, body: "{}" };
    expect(await page.run(asking(target.opsUrl + LIST, options))).toMatch(/^basic 200 /);
    // A token that the browser is not given in a header is none.
    await page.run(`document.cookie = ${JSON.stringify(`authorization=${authorization}`)}`);
    expect(await page.run(asking(target.opsUrl + LIST, { ...options, headers: json }))).toMatch(
      /^basic 401 /,
    );
  });
});
