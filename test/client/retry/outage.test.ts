/** An outage as a client lives through it: circuit, alerts, metric, and calls that wait. */
import { Registry } from "prom-client";
import { expect, it, vi } from "vitest";
import type { Alerts } from "../../../src/client/alerts/alerts.ts";
import { RecordingAlerts } from "../outbox/support.ts";
import { clientTo, startTestServer } from "../support/ingestServer.ts";
import { signalInput } from "../support/signals.ts";

/** A server that can be switched off behind a proxy, which then answers 503. */
async function startProxied() {
  const state = { isUp: true };
  const server = await startTestServer({
    intercept: (request, response) => {
      if (state.isUp) return false;
      request.resume();
      response.writeHead(503).end();
      return true;
    },
  });
  return { server, state };
}

async function circuitStates(registry: Registry) {
  const values = (await registry.getSingleMetric("signals_circuit_state")?.get())?.values ?? [];
  return Object.fromEntries(values.map(({ labels, value }) => [labels.state, value]));
}

it("is told once when it begins and once when it ends, however many probes fail", async () => {
  const { server, state } = await startProxied();
  await using _ = server;
  const alerts = new RecordingAlerts();
  const registry = new Registry();
  const circuitBreaker = { failuresMax: 3, halfOpenAfterMs: 50 };
  const client = clientTo(server, { alerts, registry, circuitBreaker, retry: false });
  const reasonOf = () =>
    client.ingest(signalInput()).then(
      ({ outcome }) => outcome,
      ({ reason }) => reason,
    );
  expect(await circuitStates(registry)).toEqual({ closed: 1 });
  state.isUp = false;
  for (let n = 0; n < 3; n++) expect(await reasonOf()).toBe("UNREACHABLE");
  expect(await reasonOf()).toBe("CIRCUIT_OPEN");
  expect(server.requests).toHaveLength(3);
  expect(await circuitStates(registry)).toEqual({ closed: 0, open: 1 });

  for (let probes = 1; probes <= 2; probes++) {
    await vi.waitFor(async () => expect(await reasonOf()).toBe("UNREACHABLE"));
    expect(server.requests).toHaveLength(3 + probes);
  }
  state.isUp = true;
  await vi.waitFor(async () => expect(await reasonOf()).toBe("stored"));

  expect(alerts.kinds).toEqual(["circuit_opened", "circuit_closed"]);
  expect(alerts.sent[0]?.text).toContain(`127.0.0.1:${server.port}`);
  expect(alerts.sent[0]?.text).toContain("UNREACHABLE");
  expect(await circuitStates(registry)).toEqual({ closed: 1, open: 0, half_open: 0 });
  await client.close();
  expect(await circuitStates(registry)).toEqual({ closed: 0, open: 0, half_open: 0 });
});

it("does not use up the retries of the calls that wait for its end", async () => {
  const { server, state } = await startProxied();
  await using _ = server;
  state.isUp = false;
  await using client = clientTo(server, {
    circuitBreaker: { failuresMax: 2, halfOpenAfterMs: 100 },
    retry: { retriesMax: 2, baseDelayMs: 1, immediateRetry: false },
  });
  // Ten calls have thirty attempts, of which the circuit lets almost none through.
  const calls = Array.from({ length: 10 }, () => client.ingest(signalInput()));
  setTimeout(() => {
    state.isUp = true;
  }, 350);
  const outcomes = await Promise.allSettled(calls);
  const stored = outcomes.filter(({ status }) => status === "fulfilled");
  expect(stored.length).toBeGreaterThanOrEqual(8);
});

it("is not made worse by alerts that fail", async () => {
  const { server, state } = await startProxied();
  await using _ = server;
  const failing = {
    send: () => {
      throw new Error("no channel");
    },
  } as unknown as Alerts;
  const error = vi.fn();
  await using client = clientTo(server, {
    alerts: failing,
    logger: { info() {}, warn() {}, error },
    circuitBreaker: { failuresMax: 1, halfOpenAfterMs: 50 },
    retry: false,
  });
  state.isUp = false;
  await expect(client.ingest(signalInput())).rejects.toMatchObject({ reason: "UNREACHABLE" });
  await vi.waitFor(() => expect(error).toHaveBeenCalled());
});
