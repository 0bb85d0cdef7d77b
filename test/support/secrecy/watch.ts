/**
 * Watches what a test and the processes that it starts show to others: all that processes
 * print, their command lines and titles, what comes over connections, and each log that is
 * handed to {@link watch}. A secret in it is a finding, which fails the test that is running.
 *
 * The hooks sit where Node.js makes processes and connections, so that no test goes by them.
 * Whatever is written to a file instead of a pipe is not seen.
 */
import { ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import http2 from "node:http2";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import path from "node:path";
import type { Readable } from "node:stream";
import { type Leak, leaksIn, plantEnvironment, type Searched, searchParts } from "./canaries.ts";

/** Where all output leaks, the first few findings say enough. */
const FINDINGS_MAX = 20;
/** Titles change, and what a process starts has a command line of its own. */
const SAMPLE_MS = 1_000;
const ANSWER = "an answer over a connection";

const findings = new Set<string>();
/**
 * The ids of the secrets that were told in answers, and by commands. Each may be once: those of
 * HTTP/2 apart, since its streams may be read from bytes that were searched before.
 */
const toldInAnswers = new Set<string>();
const toldOverHttp2 = new Set<string>();
const toldByCommands = new Set<string>();

/** What was found since this was called last, a sentence each. */
export function takeFindings(): string[] {
  const taken = [...findings];
  findings.clear();
  return taken;
}

/** Searches what must tell no secret. @param place where it is, as a phrase. */
export function watch(place: string, text: string | Uint8Array): void {
  report(place, leaksIn(text));
}

/** Searches what a command prints, part by part. Only its standard output tells new secrets. */
export function watchOutput(
  name: "stdout" | "stderr",
  args: readonly string[],
): (part: Buffer) => void {
  const place = `the ${name} of ${nameOf(args)}`;
  const parts = outputParts(name);
  return (part) => report(place, parts.leaksIn(part));
}

function outputParts(name: "stdout" | "stderr"): Searched {
  return searchParts(name === "stdout" ? toldByCommands : undefined);
}

function report(place: string, leaks: readonly Leak[]): void {
  for (const { kind, form } of leaks) {
    if (findings.size < FINDINGS_MAX) findings.add(`A ${kind} (${form}) is in ${place}.`);
  }
}

/** Searches all that comes, when it comes, however it is read. */
function watchStream(stream: Readable, place: string, parts: Searched): void {
  const push = stream.push;
  stream.push = (chunk, encoding) => {
    if (typeof chunk === "string" || chunk instanceof Uint8Array) {
      report(place, parts.leaksIn(chunk));
    }
    return push.call(stream, chunk, encoding);
  };
}

/** What Node.js starts a process with, by whichever function. */
interface StartOptions {
  readonly args?: readonly string[];
  /** Each as `NAME=value`. */
  readonly envPairs?: readonly string[];
}

/** The method that all functions of `node:child_process` but the synchronous ones call. */
interface Starter {
  spawn(this: ChildProcess, options: StartOptions): number;
}

function watchProcesses(): void {
  const starter = ChildProcess.prototype as unknown as Starter;
  const { spawn } = starter;
  starter.spawn = function (options) {
    const { args = [], envPairs = [] } = options;
    plantEnvironment(Object.fromEntries(envPairs.map(assignment)));
    const command = nameOf(args);
    watch(`the command line of ${command}`, args.join("\0"));
    const result = spawn.call(this, options);
    for (const name of ["stdout", "stderr"] as const) {
      const stream = this[name];
      if (stream) watchStream(stream, `the ${name} of ${command}`, outputParts(name));
    }
    if (this.pid !== undefined) sampleUntilExit(this);
    return result;
  };
}

function assignment(pair: string): [string, string] {
  const end = pair.indexOf("=");
  return [pair.slice(0, end), pair.slice(end + 1)];
}

/** The words of a command that tell which it is, without what may be a secret. */
function nameOf(args: readonly string[]): string {
  const words = args.filter((arg) => arg.length < 200 && leaksIn(arg).length === 0);
  return words
    .slice(0, 6)
    .map((word) => path.basename(word))
    .join(" ");
}

// Not those that a test replaces.
const { setInterval, clearInterval } = globalThis;
const running = new Set<ChildProcess>();
let sampling: NodeJS.Timeout | undefined;

function sampleUntilExit(child: ChildProcess): void {
  running.add(child);
  sampling ??= setInterval(sample, SAMPLE_MS).unref();
  child.once("exit", () => {
    running.delete(child);
    if (running.size > 0) return;
    clearInterval(sampling);
    sampling = undefined;
  });
}

/** Searches what everybody may read of each process that descends from this one. */
function sample(): void {
  for (const pid of descendantsOf(process.pid)) {
    const shown = `${readIfThere(`/proc/${pid}/cmdline`)}\0${readIfThere(`/proc/${pid}/comm`)}`;
    watch("the command line or title of a process", shown);
  }
}

/** None where there is no /proc. Read at once: with promises, it takes ten times as long. */
function descendantsOf(root: number): number[] {
  const childrenByParent = new Map<number, number[]>();
  const names = existsSync("/proc/self/stat") ? readdirSync("/proc") : [];
  for (const pid of names.map(Number).filter(Number.isInteger)) {
    // proc(5): the parent is the second field after a name that may hold anything.
    const line = readIfThere(`/proc/${pid}/stat`);
    const parent = Number(line.slice(line.lastIndexOf(")") + 2).split(" ")[1]);
    childrenByParent.set(parent, [...(childrenByParent.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(childrenByParent.get(pid) ?? []));
  return tree.slice(1);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    // The process has ended meanwhile.
    return "";
  }
}

/** Ports of servers that stand in for others, who may answer what they like. */
const portsOfOthers = new Set<number | undefined>();

/** Does not search what is answered by another program than Countersign, until it has ended. */
export function ignoreAnswers(server: net.Server): void {
  const { port } = server.address() as net.AddressInfo;
  portsOfOthers.add(port);
  server.once("close", () => portsOfOthers.delete(port));
}

/** What servers answer, in whichever protocol, and the database. */
function watchConnections(): void {
  const { prototype } = net.Socket;
  const connect = prototype.connect as (this: net.Socket, ...args: unknown[]) => net.Socket;
  const watched = new WeakSet<net.Socket>();
  prototype.connect = function (this: net.Socket, ...args: unknown[]) {
    if (!watched.has(this)) {
      const parts = searchParts(toldInAnswers);
      watchStream(this, ANSWER, {
        leaksIn: (part) => (portsOfOthers.has(this.remotePort) ? [] : parts.leaksIn(part)),
      });
    }
    watched.add(this);
    return connect.apply(this, args);
  };
}

/** HTTP/2 takes the bytes of its connections itself, so that it is watched by its streams. */
function watchHttp2(): void {
  const connect = http2.connect as (...args: unknown[]) => http2.ClientHttp2Session;
  const watching = (...args: unknown[]) => {
    const session = connect(...args);
    const request = session.request;
    session.request = (...args) => {
      const stream = request.apply(session, args);
      watchStream(stream, ANSWER, searchParts(toldOverHttp2));
      for (const event of ["headers", "response", "trailers"] as const) {
        stream.on(event, (headers: http2.IncomingHttpHeaders) => {
          watch(ANSWER, JSON.stringify(headers));
        });
      }
      return stream;
    };
    return session;
  };
  Object.assign(http2, { connect: watching });
  syncBuiltinESMExports();
}

/** Watches this process from now on. */
export function watchAll(): void {
  if (isWatching) return;
  isWatching = true;
  watchProcesses();
  watchConnections();
  watchHttp2();
}

let isWatching = false;
