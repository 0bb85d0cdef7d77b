import type { SignalInput } from "../../src/client/index.ts";
import type { Signal } from "../../src/signal/index.ts";

/** A signal of the load as a bot would write it. */
export function signalInput(signal: Signal): SignalInput {
  const { signalTime, expireTime: _never, payload, ...others } = signal;
  return {
    ...others,
    signalTime: new Date(Number(signalTime / 1_000_000n)),
    ...(payload && { payload }),
  };
}
