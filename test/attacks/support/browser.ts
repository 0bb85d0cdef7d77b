/**
 * One headless Chromium, driven over the DevTools protocol, in which a test can be on pages of
 * other sites.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** Where distributions put it; `undefined` where it is not installed. */
export const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
});

const START_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 30_000;

/** One page of a browser. */
export interface Page {
  /** Goes to a URL, and waits until it is loaded. */
  open(url: string): Promise<void>;
  /** Runs JavaScript there, and waits for the promise that it makes. @returns its value. */
  run(expression: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Starts a browser to which each of these names is this machine. */
export async function openPage(hosts: readonly string[]): Promise<Page> {
  const rules = hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",");
  const directory = await mkdtemp(join(tmpdir(), "countersign-browser-"));
  const child = spawn(String(CHROMIUM), [
    ...["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    ...["--disable-background-networking", "--no-first-run", "--no-proxy-server"],
    ...["--remote-debugging-port=0", `--user-data-dir=${directory}`],
    `--host-resolver-rules=${rules}`,
    "about:blank",
  ]);
  async function close(): Promise<void> {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    // Its other processes end a moment later, and still write.
    await rm(directory, { recursive: true, force: true, maxRetries: 20 });
  }
  try {
    const { host } = new URL(await devToolsUrl(child));
    const pages = (await (await fetch(`http://${host}/json/list`)).json()) as {
      readonly type: string;
      readonly webSocketDebuggerUrl: string;
    }[];
    const page = pages.find(({ type }) => type === "page");
    const send = await connect(String(page?.webSocketDebuggerUrl));
    return {
      async open(url) {
        await send("Page.navigate", { url });
        for (;;) {
          const state = await evaluate(send, "document.readyState + ' ' + location.href");
          if (String(state).startsWith(`complete ${url}`)) return;
        }
      },
      run: (expression) => evaluate(send, expression),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

type Send = (method: string, params: object) => Promise<Readonly<Record<string, unknown>>>;

async function evaluate(send: Send, expression: string): Promise<unknown> {
  const params = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails } = await send("Runtime.evaluate", params);
  if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
  return (result as { readonly value?: unknown }).value;
}

function devToolsUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("Chromium does not start")), START_TIMEOUT_MS);
    createInterface({ input: child.stderr as Readable }).on("line", (line) => {
      const [, url] = /^DevTools listening on (\S+)/.exec(line) ?? [];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
  });
}

async function connect(url: string): Promise<Send> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const waiting = new Map<number, (answer: Readonly<Record<string, unknown>>) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id, result, error } = JSON.parse(String(data));
    waiting.get(id)?.(result ?? { exceptionDetails: error });
    waiting.delete(id);
  });
  let lastId = 0;
  return (method, params) =>
    new Promise((resolve, reject) => {
      lastId += 1;
      const timer = setTimeout(
        () => reject(new Error(`no answer to ${method}`)),
        COMMAND_TIMEOUT_MS,
      );
      waiting.set(lastId, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      socket.send(JSON.stringify({ id: lastId, method, params }));
    });
}
