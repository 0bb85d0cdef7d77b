import { createHmac } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { type Claim, compareStringsToSign, diagnose } from "../../src/cli/verify/diagnose.ts";
import { parseRequestHead } from "../../src/cli/verify/headers.ts";
import { formatTimestamp, stringToSign } from "../../src/signing/index.ts";
import { run, runShell, workspaceOfFile } from "./support/run.ts";

const SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtMDAwMQ==";
const JSON_TEXT = '{"signal":{"instrument":"GOLD","reason":"é","stopLoss":2640.0},"n":[]}';
const REQUEST = {
  endpoint: "/signals.v1.IngestService/Ingest",
  timestamp: "2025-10-25T14:30:45.120Z",
  producerId: "bot-1",
  body: Buffer.from(JSON_TEXT),
};
const RIGHT = stringToSign(REQUEST);

function hmac(text: string, key: string | Buffer = SECRET): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** What is found if this was signed and that is judged. */
function findings(signed: string | Buffer, claim: Partial<Claim> = {}): readonly string[] {
  const signature = (typeof signed === "string" ? hmac(signed) : signed).toString("base64");
  const whole = { secret: SECRET, request: REQUEST, signature };
  const { valid, findings } = diagnose({
    ...whole,
    ownStringToSign: undefined,
    host: undefined,
    ...claim,
  });
  expect(valid).toBe(false);
  return findings;
}

/** A timestamp whose signature has a character that is another in base64url. */
function signedWithPlus(): { readonly timestamp: string; readonly signature: Buffer } {
  for (let second = 0n; second < 60n; second++) {
    const timestamp = formatTimestamp(second * 1_000_000_000n);
    const signature = hmac(stringToSign({ ...REQUEST, timestamp }));
    if (/[+/]/.test(signature.toString("base64"))) return { timestamp, signature };
  }
  throw new Error("none in 60");
}

describe("a diagnosis", () => {
  it("of a right signature is that it is valid", () => {
    const signature = hmac(RIGHT).toString("base64");
    const claim = { secret: SECRET, request: REQUEST, signature };
    expect(diagnose({ ...claim, ownStringToSign: undefined, host: undefined })).toEqual({
      valid: true,
      stringToSign: RIGHT,
      findings: [],
    });
  });

  const { timestamp, signature } = signedWithPlus();
  const base64 = signature.toString("base64");

  it.each([
    ["hex", signature.toString("hex"), "is in hex"],
    ["base64url", signature.toString("base64url"), "is in base64url"],
    ["no padding", base64.replace("=", ""), "lacks the padding"],
    ["blanks", `${base64}\n`, "has blanks around it"],
    ["rubbish", "rubbish", "not the base64 of 32 bytes"],
  ])("knows a signature written as %s", (_, text, finding) => {
    expect(findings("", { request: { ...REQUEST, timestamp }, signature: text })).toEqual([
      expect.stringContaining(finding),
    ]);
  });

  const PRETTY = JSON.stringify(JSON.parse(JSON_TEXT), null, 2);
  const PYTHON =
    '{"signal": {"instrument": "GOLD", "reason": "\\u00e9", "stopLoss": 2640.0}, "n": []}';
  const FRAME = Buffer.from([0, 0, 0, 0, Buffer.byteLength(JSON_TEXT)]);

  it.each<[string, string | Buffer, string | Buffer, string]>([
    ["sent with a newline more", JSON_TEXT, `${JSON_TEXT}\n`, "at its end that was not signed"],
    ["sent with a newline less", `${JSON_TEXT}\n`, JSON_TEXT, "signed with a newline at its end"],
    ["sent without newlines", JSON_TEXT, JSON_TEXT.replace(",", ",\n"), "newlines that were not"],
    ["sent with CR LF", PRETTY, PRETTY.replaceAll("\n", "\r\n"), "has CR LF for its newlines"],
    ["sent with a byte order mark", JSON_TEXT, `\ufeff${JSON_TEXT}`, "byte order mark"],
    ["signed compact, sent pretty", JSON_TEXT, PYTHON.replace("\\u00e9", "é"), "compact, without"],
    ["signed pretty, sent compact", PRETTY, JSON_TEXT, "indented by 2 blanks"],
    ["signed as Python writes it", PYTHON, JSON_TEXT, "as Python's json.dumps writes it. "],
    ["rounded by JavaScript", JSON_TEXT.replace(".0", ""), JSON_TEXT, "JSON.stringify writes it"],
    ["signed empty", "", JSON_TEXT, "An empty body was signed"],
    ["hashed with its frame", Buffer.concat([FRAME, REQUEST.body]), JSON_TEXT, "frame was hashed"],
    ["given with its frame", JSON_TEXT, Buffer.concat([FRAME, REQUEST.body]), "is a gRPC frame"],
  ])("knows a body %s", (_, signed, sent, finding) => {
    const text = stringToSign({ ...REQUEST, body: Buffer.from(signed) });
    expect(findings(text, { request: { ...REQUEST, body: Buffer.from(sent) } })).toEqual([
      expect.stringContaining(finding),
    ]);
  });

  const inHex = (hash: string) => Buffer.from(hash, "base64").toString("hex");

  it.each<[string, string | Buffer, string]>([
    ["a secret with a newline", hmac(RIGHT, `${SECRET}\n`), "used with a newline at its end"],
    ["a decoded secret", hmac(RIGHT, Buffer.from(SECRET, "base64")), "decoded from base64"],
    ["a newline at the end", `${RIGHT}\n`, "with a newline after its last line"],
    ["CR LF", RIGHT.replaceAll("\n", "\r\n"), "joined by CR LF"],
    ["a written newline", RIGHT.replaceAll("\n", "\\n"), "joined by a backslash"],
    ["a hex hash", RIGHT.replace(/(?<=SHA256:).*/, inHex), "signed in hex"],
    ["seconds", RIGHT.replace(".120Z", "Z"), "signed as 2025-10-25T14:30:45Z, but sent as"],
    ["an offset", RIGHT.replace("Z\n", "+00:00\n"), "signed as 2025-10-25T14:30:45.120+00:00"],
    ["epoch time", RIGHT.replace(/(?<=STAMP:).*/, "1761402645"), "signed as 1761402645"],
    ["another path", RIGHT.replace("/Ingest\n", "/IngestBatch\n"), "Another path was signed"],
    ["a last slash", RIGHT.replace("/Ingest\n", "/Ingest/\n"), "Another path was signed"],
    ["the host", RIGHT.replace("POINT:", "POINT:https://x.test"), "The host was signed"],
    ["another time", RIGHT.replace(".120Z", ".121Z"), "No usual mistake explains"],
    ["another secret", hmac(RIGHT, "quite-another-secret"), "No usual mistake explains"],
  ])("knows %s", (_, signed, finding) => {
    expect(findings(signed, { host: "x.test" })).toEqual([expect.stringContaining(finding)]);
  });

  it("knows a query string, and a spelling of the signature besides", () => {
    const request = { ...REQUEST, endpoint: `${REQUEST.endpoint}?a=1` };
    expect(findings(RIGHT, { request, signature: hmac(RIGHT).toString("hex") })).toEqual([
      "The endpoint must be a path without host, blanks and query.",
      expect.stringContaining("is in hex"),
      expect.stringContaining("no query string"),
    ]);
  });

  it("tells a wrong string to sign from a wrong HMAC", () => {
    const ownStringToSign = RIGHT.replace("bot-1", "bot-2");
    const concluded = (key: string) => findings(hmac(ownStringToSign, key), { ownStringToSign });
    const said = (text: string) => [expect.stringContaining(text)];
    expect(concluded(SECRET)).toEqual(said("is that of your string to sign"));
    expect(concluded(`${SECRET}\n`)).toEqual(said("used with a newline"));
    expect(concluded("another")).toEqual(said("is not that of"));
  });

  it("shows each line of a string to sign that differs, with what is invisible", () => {
    expect(compareStringsToSign(RIGHT, RIGHT, REQUEST.body)).toEqual([]);
    const other = stringToSign({ ...REQUEST, body: Buffer.from(`${JSON_TEXT}\n`) });
    const own = `${other.replace("POST", "POST\r").replace("bot-1", " Bot-1\u200b").replace("45.120Z", "45.120Z ")}\n`;
    const [, , , , rightHash] = RIGHT.split("\n");
    const [, , , , ownHash] = other.split("\n");
    const hint = expect.stringContaining("signed with a newline");
    expect(compareStringsToSign(RIGHT, own, REQUEST.body)).toEqual([
      { line: 1, expected: "METHOD:POST", actual: "METHOD:POST\\r" },
      {
        line: 3,
        expected: `TIMESTAMP:${REQUEST.timestamp}`,
        actual: `TIMESTAMP:${REQUEST.timestamp}\u00b7`,
      },
      { line: 4, expected: "PRODUCER_ID:bot-1", actual: "PRODUCER_ID: Bot-1\\u{200b}" },
      { line: 5, expected: rightHash, actual: ownHash, hint },
      { line: 6, expected: undefined, actual: "" },
    ]);
  });
});

it("request headers are read as they are sent and as curl prints them", () => {
  const head = parseRequestHead(
    "> POST /a/b?c HTTP/2\r\n> Host: x.test\r\n> X-Producer-Id:  bot-1 \r\n> x-timestamp: t:1\r\n> x-timestamp: t:2\r\n>\r\n> x-signature: in the body\r\n",
  );
  expect(head).toEqual({
    endpoint: "/a/b?c",
    host: "x.test",
    producerId: "bot-1",
    timestamp: "t:2",
    signature: undefined,
    repeated: ["x-timestamp"],
  });
});

describe("countersign verify", () => {
  const workspace = workspaceOfFile();
  beforeAll(async () => {
    await workspace.write("body.json", JSON_TEXT);
  });
  const env = { PRODUCER_ID: "bot-1", HMAC_PRODUCER_SECRET: SECRET };

  it("finds valid what sign has signed, also for buf curl", async () => {
    await workspace.write("buf.json", '{"signal":{"payload":{"b":1,"a":2}}}');
    for (const options of ["--body body.json", "--body buf.json --message IngestRequest"]) {
      const result = await runShell(
        `countersign sign ${options} --format headers > headers.txt
        countersign verify ${options} --headers headers.txt`,
        { env, cwd: workspace.path },
      );
      expect(result).toEqual({ code: 0, stdout: "valid\n", stderr: "" });
    }
  });

  it("shows what is wrong, and where, and never the secret", async () => {
    await workspace.write("mine.txt", RIGHT.replace("bot-1", "bot-1\r"));
    const args = ["--timestamp", REQUEST.timestamp, "--signature", hmac(RIGHT).toString("hex")];
    const { code, stdout, stderr } = await run(
      ["verify", "--body", "body.json", ...args, "--string-to-sign", "mine.txt"],
      { env, cwd: workspace.path },
    );
    expect(code).toBe(1);
    expect(stdout.startsWith("invalid\n\n")).toBe(true);
    for (const line of RIGHT.split("\n")) expect(stdout).toContain(`\n  ${line}\n`);
    expect(stdout).toContain(
      "Line 4 differs:\n  right: PRODUCER_ID:bot-1\n  yours: PRODUCER_ID:bot-1\\r\n",
    );
    expect(stdout).toContain("The signature is in hex.");
    expect(stderr).toMatch(
      /the timestamp is \d+ s ago by the clock of this machine, which shows 20.*Z; .* CLOCK_SKEW/,
    );
    expect(stdout + stderr).not.toContain(SECRET);
  });

  it("gives all of it as JSON, and does not accept a repeated header", async () => {
    const signature = hmac(RIGHT).toString("base64");
    const lines = [
      "x-producer-id: bot-1",
      `x-timestamp: ${REQUEST.timestamp}`,
      `x-signature: ${signature}`,
    ];
    const head = [...lines, "X-Signature: other", ...lines.slice(2)].join("\n");
    const { code, stdout } = await run(
      ["verify", "--body", "body.json", "--headers", "-", "--json"],
      { env, cwd: workspace.path, input: head },
    );
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      valid: false,
      string_to_sign: RIGHT,
      findings: ["The header x-signature is there more than once."],
      differences: [],
    });
  });

  it.each([
    [["--timestamp", "x"], "There is no x-signature."],
    [["--headers", "body.json"], "There is no x-timestamp."],
    [["--headers", "nowhere.txt"], "--headers nowhere.txt cannot be read: there is no such file."],
  ])("ends with 2 for %j", async (args, message) => {
    const { code, stderr } = await run(["verify", "--body", "body.json", ...args], {
      env,
      cwd: workspace.path,
    });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
