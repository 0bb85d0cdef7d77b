/**
 * Whom a limit by address counts as one: an IPv4 address, or the /64 of an IPv6 address.
 * A host has a whole /64 at its disposal (RFC 4291, section 2.5.4), so that a limit by
 * single IPv6 addresses would limit nobody.
 */
import { isIPv4, isIPv6 } from "node:net";

/** Whoever has no address any more, since the connection is closed. */
export const NO_ADDRESS = "";

const IPV4_IN_IPV6 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const GROUPS = 8;
const GROUPS_OF_NETWORK = 4;

/**
 * The key of an address in limits and maps.
 *
 * @param address as a socket tells its `remoteAddress`.
 * @returns such as `192.0.2.1` or `2001:db8:0:0::/64`; {@link NO_ADDRESS} for what is no
 *   IP address.
 */
export function addressKey(address: string | undefined): string {
  if (address === undefined) return NO_ADDRESS;
  const mapped = IPV4_IN_IPV6.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIPv4(address)) return address;
  return isIPv6(address) ? `${network(address)}::/64` : NO_ADDRESS;
}

/** The first four groups of an IPv6 address, in which `::` may stand for some of them. */
function network(address: string): string {
  const [left = "", right] = address.split("::", 2);
  const before = left === "" ? [] : left.split(":");
  const after = right === undefined || right === "" ? [] : right.split(":");
  // A tail that is written as an IPv4 address stands for two groups.
  const tail = after.at(-1)?.includes(".") === true ? 1 : 0;
  const zeros = right === undefined ? 0 : GROUPS - before.length - after.length - tail;
  const groups = [...before, ...Array<string>(zeros).fill("0"), ...after];
  return groups
    .slice(0, GROUPS_OF_NETWORK)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
