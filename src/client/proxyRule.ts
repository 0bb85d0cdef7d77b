/**
 * Whether a proxy that was named can be used. Pure.
 */
import { isLoopback } from "../alerts/index.ts";

/** Variables of a proxy, as `process.env` has them. */
export type ProxyEnv = Readonly<Record<string, string | undefined>>;

/**
 * The rule that a proxy on the way to a server breaks, undefined if it breaks none: Node.js passes
 * by in silence a proxy that it cannot use. The rule never repeats the value, which may hold a
 * password.
 *
 * @param baseUrl of the server.
 * @param nodeVersion such as 24.16.0.
 */
export function proxyRule(
  baseUrl: string,
  proxyEnv: ProxyEnv,
  nodeVersion = process.versions.node,
): string | undefined {
  const proxy = proxyEnv.https_proxy || proxyEnv.HTTPS_PROXY || "";
  const { protocol, hostname } = new URL(baseUrl);
  if (proxy === "" || protocol !== "https:" || isLoopback(hostname)) return undefined;
  if (isExcepted(hostname, proxyEnv.no_proxy || proxyEnv.NO_PROXY || "")) return undefined;
  const isUsable = ["http:", "https:"].includes(URL.parse(proxy)?.protocol ?? "");
  if (!isUsable) return "must be an http or https URL, such as http://proxy:3128";
  return knowsProxies(nodeVersion) ? undefined : "needs Node.js 22.21, 24.5 or newer";
}

/** Whether the agents of this Node.js go through a proxy: before, they ignored the option. */
function knowsProxies(nodeVersion: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.split(".").map(Number);
  return major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
}

/** Whether a list of hosts and of domains, divided by commas or blanks, has the host. */
function isExcepted(hostname: string, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => {
    const name = entry
      .toLowerCase()
      .replace(/^\*?\./, "")
      .replace(/:\d+$/, "");
    return entry === "*" || name === hostname || (name !== "" && hostname.endsWith(`.${name}`));
  });
}
