/** From the command line to a client. */

import { silentLogger } from "../../client/clientLogger.ts";
import {
  ConfigError,
  clientOptionsFromEnv,
  createSignalClient,
  type SignalClient,
} from "../../client/index.ts";
import { usageError } from "../cliError.ts";
import type { Environment } from "../environment.ts";
import type { SendOptions } from "./options.ts";

const MS_PER_SECOND = 1_000;

/** How a setting is given on the command line. */
const OPTION_BY_SETTING: Readonly<Record<string, string>> = {
  OUTBOUND_SERVER_URL: "OUTBOUND_SERVER_URL (--url)",
  PRODUCER_ID: "PRODUCER_ID (--producer-id)",
  codec: "--codec",
  timeoutMs: "--timeout, in milliseconds,",
};

/** @throws CliError naming every wrong setting, or if the client is switched off. */
export function connect(options: SendOptions, producer: Environment): SignalClient {
  const environment = { ...producer };
  if (options.url !== undefined) environment.OUTBOUND_SERVER_URL = options.url;
  try {
    const configured = clientOptionsFromEnv(environment);
    if (configured.enabled === false) {
      throw usageError("HMAC_PRODUCER_ENABLED is false, so nothing is sent. Unset it to send.");
    }
    const { protocol, codec, timeout } = options;
    return createSignalClient({
      ...configured,
      protocol,
      codec,
      // The sender repeats by itself, what still waits only, and says what it waits for.
      retry: false,
      circuitBreaker: false,
      logger: silentLogger,
      ...(timeout !== undefined && { timeoutMs: Math.round(timeout * MS_PER_SECOND) }),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map(
      ({ name, rule }) => `${OPTION_BY_SETTING[name] ?? name} ${rule}`,
    );
    throw usageError(`The configuration is wrong: ${problems.join("; ")}.`);
  }
}
