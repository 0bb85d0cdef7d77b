/** Ports that processes may share are shared by one server's only. */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { claimPort } from "../../../src/server/workers/portClaim.ts";

const HOST = "127.0.0.1";

async function occupy(port = 0): Promise<net.Server> {
  const server = net.createServer();
  server.listen({ host: HOST, port });
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return server;
}

async function freePort(): Promise<number> {
  const server = await occupy();
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

test("of those that claim a port at once, one gets it, and the next when that one lets go", async () => {
  const port = await freePort();
  const claims = await Promise.allSettled(
    Array.from({ length: 5 }, () => claimPort({ host: HOST, port })),
  );
  const claimed = claims.filter((claim) => claim.status === "fulfilled");
  expect(claimed).toHaveLength(1);
  for (const claim of claims) {
    if (claim.status === "fulfilled") continue;
    expect(claim.reason).toMatchObject({ code: "EADDRINUSE", syscall: "listen" });
  }
  claimed[0]?.value.release();
  (await claimPort({ host: HOST, port })).release();
});

test("what is claimed cannot be claimed again, though nobody listens yet", async () => {
  const shared = { host: HOST, port: await freePort() };
  const claim = await claimPort(shared);
  await expect(claimPort(shared)).rejects.toMatchObject({ code: "EADDRINUSE" });
  claim.release();
});

test("a claim leaves the port itself to those it is for, and other ports to others", async () => {
  const port = await freePort();
  const claim = await claimPort({ host: HOST, port });
  onTestFinished(() => claim.release());
  await occupy(port);
  (await claimPort({ host: HOST, port: await freePort() })).release();
});

test("a port that another program has cannot be claimed, and can as soon as it is free", async () => {
  const occupant = await occupy();
  const { port } = occupant.address() as AddressInfo;
  await expect(claimPort({ host: HOST, port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  occupant.close();
  await once(occupant, "close");
  (await claimPort({ host: HOST, port })).release();
});

test("a host with a long name is claimed like any other", async () => {
  const host = `${"a".repeat(60)}.${"b".repeat(60)}.invalid`;
  // There is no such host (RFC 6761, section 6.4), which is all that is wrong with it.
  await expect(claimPort({ host, port: await freePort() })).rejects.toMatchObject({
    syscall: "getaddrinfo",
  });
});
