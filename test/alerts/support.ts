import { inspect } from "node:util";
import { vi } from "vitest";
import type { Alert, ClientLogger } from "../../src/client/index.ts";
import { watch } from "../support/secrecy/watch.ts";

/** Half past two. */
export const TIME = new Date("2025-10-25T14:30:45.123Z");

/** An alert that a test does not care about, but for what it names. */
export function alertOf(text = "The strategy has started.", overrides: Partial<Alert> = {}): Alert {
  return { kind: "owner", text, time: TIME, ...overrides };
}

/** A signal that is never aborted. */
export function never(): AbortSignal {
  return new AbortController().signal;
}

/** What was logged. */
export interface LogLine {
  readonly level: keyof ClientLogger;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A logger that remembers. */
export function memoryLogger(): ClientLogger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const write = (level: keyof ClientLogger) => (facts: object, message: string) => {
    watch("a log", JSON.stringify([facts, message]));
    lines.push({ level, facts: facts as LogLine["facts"], message });
  };
  return { lines, info: write("info"), warn: write("warn"), error: write("error") };
}

/** Time stands still until it is let pass; sockets work on. */
export function fakeTimers(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: TIME });
}

/** Waits for a socket while faked time stands still. */
export async function eventually(isTrue: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`It never came true: ${isTrue}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets faked time pass, slowly enough that sockets keep up, until something has come true. */
export async function passTime(isTrue: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`It never came true: ${isTrue}`);
    const next = performance.now() + 5;
    await eventually(() => performance.now() > next);
    await vi.advanceTimersByTimeAsync(250);
  }
}

/** Everything that printing a value could show, as deep as it goes. */
export function shown(value: unknown): string {
  const options = { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true };
  const stack = value instanceof Error ? value.stack : "";
  return `${inspect(value, options)}${JSON.stringify(value)}${String(value)}${stack}`;
}
