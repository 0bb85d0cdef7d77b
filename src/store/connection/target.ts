/** Where a database is, and how it is reached: what a URL says, as explicit values. */

/** Where a server listens: at a TCP port, or at a Unix-domain socket. */
export type DatabaseHost =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** How far the connection is to be protected (PostgreSQL documentation, section 34.19.3). */
export type TlsMode = "disable" | "prefer" | "require" | "verify-ca" | "verify-full";

/** What TLS is to be like. Files are named, not read. */
export interface TlsTerms {
  readonly mode: TlsMode;
  /** PEM file of the authorities that are trusted; `system` for those of this machine. */
  readonly rootCertFile: string | undefined;
  /** PEM files with which this client proves itself. */
  readonly client: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly maxVersion: "TLSv1.2" | "TLSv1.3";
}

/** Everything that a URL says. */
export interface DatabaseTarget {
  /** In the order in which they are tried. */
  readonly hosts: readonly DatabaseHost[];
  /** `undefined` for that of the operating system. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** `undefined` for one that is called like the user. */
  readonly database: string | undefined;
  readonly tls: TlsTerms;
  /** How long an attempt to reach one host may take; `undefined` for the default. */
  readonly connectTimeoutMs: number | undefined;
  /** After how much silence TCP asks whether the other side is there; `undefined` for never. */
  readonly keepAliveMs: number | undefined;
  /** What `pg_stat_activity` shows; `undefined` for the default. */
  readonly applicationName: string | undefined;
  /** Whether statements may be prepared by name. */
  readonly prepare: boolean;
  /** Settings of the session that the URL asks for. */
  readonly sessionSettings: Readonly<Record<string, string>>;
}
