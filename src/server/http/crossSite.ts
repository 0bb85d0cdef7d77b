/**
 * Requests that a web page of another site has a browser send. Without cookies they prove
 * nothing, but where a port is reached from a browser at all, no page of others has any
 * business there.
 */

import type { NodeRequest } from "./nodeHttp.ts";
import type { FormFault } from "./requestForm.ts";

/** Fetch Metadata, "Sec-Fetch-Site": of this origin, or by a person without any page. */
const OWN_SITES: ReadonlySet<unknown> = new Set([undefined, "same-origin", "none"]);

/**
 * What is wrong with a request that a page of another origin caused. That a person follows a
 * link to this port is fine: the page that has the link learns nothing.
 *
 * @param request whose form is settled, so that it names one host.
 */
export function crossSiteFault(request: NodeRequest): FormFault | undefined {
  const { headers, method } = request;
  const { origin } = headers;
  const host = "authority" in request ? request.authority : headers.host;
  if (origin !== undefined && !isOriginOf(origin, host)) return CROSS_SITE;
  if (OWN_SITES.has(headers["sec-fetch-site"])) return undefined;
  const isLink =
    method === "GET" &&
    headers["sec-fetch-mode"] === "navigate" &&
    headers["sec-fetch-dest"] === "document";
  return isLink ? undefined : CROSS_SITE;
}

const CROSS_SITE: FormFault = {
  status: 403,
  detail: "Web pages of other sites may not use this port.",
};

/** A proxy in front may speak TLS where this port does not, so that the scheme may differ. */
function isOriginOf(origin: string, host: string | undefined): boolean {
  const url = URL.parse(origin);
  return url !== null && url.host === URL.parse(`${url.protocol}//${host}`)?.host;
}
