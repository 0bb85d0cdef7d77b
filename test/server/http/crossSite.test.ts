import { expect, test } from "vitest";
import { crossSiteFault } from "../../../src/server/http/crossSite.ts";
import type { NodeRequest } from "../../../src/server/http/nodeHttp.ts";

function faultOf(headers: Readonly<Record<string, string>>, method = "POST") {
  const request = { method, headers: { host: "127.0.0.1:9090", ...headers } };
  return crossSiteFault(request as unknown as NodeRequest)?.status;
}

test.each<Record<string, string>>([
  {},
  { origin: "http://127.0.0.1:9090" },
  { origin: "http://127.0.0.1:9090", "sec-fetch-site": "same-origin" },
  { "sec-fetch-site": "none" },
  { host: "ops.example.com", origin: "https://ops.example.com" },
  { host: "ops.example.com:443", origin: "https://ops.example.com" },
])("passes a program, and a page of its own, by %j", (headers) => {
  expect(faultOf(headers)).toBeUndefined();
  expect(faultOf(headers, "GET")).toBeUndefined();
});

test.each<Record<string, string>>([
  { origin: "http://evil.example" },
  { origin: "http://127.0.0.1:8080" },
  { origin: "http://127.0.0.1" },
  { origin: "http://127.0.0.1:9090.evil.example" },
  { origin: "null" },
  { origin: "" },
  { origin: "http://127.0.0.1:9090, http://evil.example" },
  { origin: "http://127.0.0.1:9090", "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site" },
  { "sec-fetch-site": "none, cross-site" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe" },
])("refuses what a page of another site causes, by %j", (headers) => {
  expect(faultOf(headers)).toBe(403);
  expect(faultOf(headers, "GET")).toBe(403);
});

test("lets a person follow a link, but send no form", () => {
  const link = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
  };
  expect(faultOf(link, "GET")).toBeUndefined();
  expect(faultOf(link, "POST")).toBe(403);
});
