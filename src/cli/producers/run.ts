/** Administers producers over the operations port. */
import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import {
  type Producer,
  ProducerSchema,
  type ProducerSecret,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import { epochMs, systemClock } from "../../client/clock.ts";
import { didYouMean } from "../../signal/index.ts";
import type { AdminAccess } from "../admin/access.ts";
import { type Admin, openAdmin } from "../admin/admin.ts";
import { type CallContext, reasonOf } from "../admin/callError.ts";
import { confirm } from "../admin/confirm.ts";
import { handOver } from "../admin/handOver.ts";
import { knownProducerIds, readProducers } from "../admin/knownProducers.ts";
import type { ConfirmOptions, JsonOptions } from "../admin/options.ts";
import { requirePublicId } from "../admin/publicId.ts";
import { takeNewFile, takeProducerFile } from "../admin/secretFile.ts";
import { whenText } from "../age.ts";
import { usageError } from "../cliError.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { formatTable, writeTable } from "../table.ts";
import {
  LIST_COLUMNS,
  producerJson,
  producerRow,
  producerRows,
  SECRET_COLUMNS,
  SETTING_TEXTS,
  secretRow,
} from "./format.ts";

/** The options of `producers create`. */
export interface CreateOptions extends JsonOptions {
  readonly displayName?: string;
  readonly requireApproval?: boolean;
  /** 0 for none. */
  readonly rateLimit?: number;
  /** Empty for all. */
  readonly instruments?: readonly string[];
  readonly envFile?: string;
}

/** The options of `producers update`. */
export type UpdateOptions = Omit<CreateOptions, "envFile">;

/** The options of `producers rotate`. */
export interface RotateOptions extends JsonOptions, ConfirmOptions {
  /** In seconds. */
  readonly grace?: number;
  readonly force?: boolean;
  readonly envFile?: string;
}

/** The options of `producers revoke`. */
export interface RevokeOptions extends JsonOptions, ConfirmOptions {}

/** `countersign producers create`. */
export async function createProducer(producerId: string, options: CreateOptions): Promise<void> {
  using admin = openAdmin(options);
  const file = options.envFile === undefined ? undefined : takeNewFile(options.envFile);
  try {
    const { secret, producer } = await admin.call(
      admin.producers.createProducer({
        producerId,
        displayName: options.displayName ?? "",
        requireApproval: options.requireApproval ?? false,
        rateLimitPerSecond: options.rateLimit ?? 0,
        allowedInstruments: [...(options.instruments ?? [])],
      }),
      {
        advice: {
          NOT_FOUND: `This token may not make ${producerId}, which is not in its list of producers.`,
          ALREADY_EXISTS:
            `There is a producer ${producerId} already. ` +
            `"countersign producers show ${producerId}" shows it, and "rotate" gives it a new secret.`,
        },
        doubt:
          `Whether it was made is not known: "countersign producers show ${producerId}" tells. If so, ` +
          `"countersign producers rotate ${producerId} --grace 0" gives it a secret that is not lost.`,
      },
    );
    const variables = `PRODUCER_ID=${producerId}\nHMAC_PRODUCER_SECRET=${secret}\n`;
    const isInFile = await handOver(
      {
        name: "secret",
        value: secret,
        variables,
        ifLost: `Make another: "countersign producers rotate ${producerId} --grace 0".`,
      },
      {
        file,
        fileText: variables + serverUrlLine(admin.access),
        json: options.json,
        others: producer === undefined ? {} : { producer: producerJson(producer) },
      },
    );
    tellNext(producerId, isInFile ? options.envFile : undefined, admin.access);
  } catch (error) {
    file?.discard();
    throw error;
  }
}

/** Where the bot sends to, if that is known. */
function serverUrlLine({ publicUrl, url }: AdminAccess): string {
  return publicUrl === undefined
    ? `# The public port of the server at ${url}:\n# OUTBOUND_SERVER_URL=\n`
    : `OUTBOUND_SERVER_URL=${publicUrl}\n`;
}

function tellNext(producerId: string, path: string | undefined, { publicUrl }: AdminAccess): void {
  if (path === undefined) {
    note(
      `the secret of ${producerId} is shown this once. Give it to the bot as HMAC_PRODUCER_SECRET, ` +
        "by a way that others cannot read",
    );
    return;
  }
  note(
    publicUrl === undefined
      ? `${path} has what ${producerId} needs but OUTBOUND_SERVER_URL: set it there to the server's public port`
      : `${path} has what ${producerId} needs: "countersign send --env-file ${path}" sends as it`,
  );
}

/** `countersign producers list`. */
export async function listProducers(options: JsonOptions): Promise<void> {
  using admin = openAdmin(options);
  const producers = await readProducers(admin);
  if (options.json === true) {
    for (const producer of producers) await writeJson(producerJson(producer));
    return;
  }
  const now = epochMs(systemClock);
  const rows = producers.map((producer) => producerRow(producer, now).map(printable));
  await writeTable(LIST_COLUMNS, rows);
}

/** `countersign producers show`. */
export async function showProducer(producerId: string, options: JsonOptions): Promise<void> {
  using admin = openAdmin(options);
  const producer = await getProducer(admin, producerId);
  if (options.json === true) return await writeJson(producerJson(producer));
  const now = epochMs(systemClock);
  const rows = producerRows(producer, now).map((row) => row.map(printable));
  await writeOut(formatTable([{ title: "" }, { title: "" }], rows, { withTitles: false }));
  await writeOut("\n");
  if (producer.secrets.length === 0) {
    await writeOut(`No secret is live: "countersign producers rotate ${producerId}" makes one.\n`);
    return;
  }
  await writeTable(
    SECRET_COLUMNS,
    producer.secrets.map((secret) => secretRow(secret, now)),
  );
}

async function getProducer(admin: Admin, producerId: string): Promise<Producer> {
  const { producer } = await callOn(admin, producerId, admin.producers.getProducer({ producerId }));
  return present(producer);
}

/** Waits for a call that concerns a producer; of one that is not there it tells the nearest name. */
async function callOn<T>(
  admin: Admin,
  producerId: string,
  call: Promise<T>,
  context: CallContext = {},
): Promise<T> {
  // The names are asked for only when one of them was missed.
  const isMissing = (await reasonOf(call)) === "NOT_FOUND";
  const meant = isMissing ? didYouMean(producerId, (await knownProducerIds(admin)) ?? []) : "";
  const advice = {
    NOT_FOUND: `There is no producer ${producerId} that this token may see${meant}.`,
    ...context.advice,
  };
  return admin.call(call, { ...context, advice });
}

const DOUBT = "Whether it was done is not known; doing it again is harmless.";

/** `countersign producers update`. */
export async function updateProducer(producerId: string, options: UpdateOptions): Promise<void> {
  const { displayName, requireApproval, rateLimit, instruments } = options;
  const changes = {
    display_name: displayName,
    require_approval: requireApproval,
    rate_limit_per_second: rateLimit,
    allowed_instruments: instruments,
  };
  const paths = Object.entries(changes).flatMap(([name, value]) =>
    value === undefined ? [] : [name],
  );
  if (paths.length === 0) {
    throw usageError(
      "Give what is to change: --display-name, --require-approval, --rate-limit or --instruments.",
    );
  }
  using admin = openAdmin(options);
  const wanted = create(ProducerSchema, {
    producerId,
    ...(displayName !== undefined && { displayName }),
    ...(requireApproval !== undefined && { requireApproval }),
    ...(rateLimit !== undefined && { rateLimitPerSecond: rateLimit }),
    ...(instruments !== undefined && { allowedInstruments: [...instruments] }),
  });
  const updateMask = create(FieldMaskSchema, { paths });
  const { producer } = await callOn(
    admin,
    producerId,
    admin.producers.updateProducer({ producer: wanted, updateMask }),
    { doubt: DOUBT },
  );
  const settings = paths.map((path) => SETTING_TEXTS[path]?.(present(producer)) ?? path);
  await printProducer(producer, options, settings.join(", "));
}

/** `countersign producers disable`. */
export async function disableProducer(producerId: string, options: JsonOptions): Promise<void> {
  using admin = openAdmin(options);
  const call = admin.producers.disableProducer({ producerId });
  const { producer } = await callOn(admin, producerId, call, { doubt: DOUBT });
  await printProducer(producer, options, "disabled: its requests are refused");
}

/** `countersign producers enable`. */
export async function enableProducer(producerId: string, options: JsonOptions): Promise<void> {
  using admin = openAdmin(options);
  const call = admin.producers.enableProducer({ producerId });
  const { producer } = await callOn(admin, producerId, call, { doubt: DOUBT });
  await printProducer(producer, options, "enabled: its requests are taken");
}

async function printProducer(
  producer: Producer | undefined,
  { json }: JsonOptions,
  what: string,
): Promise<void> {
  const { producerId } = present(producer);
  if (json === true) await writeJson(producerJson(present(producer)));
  else await writeOut(`${printable(`${producerId}: ${what}`)}\n`);
}

/** `countersign producers rotate`. */
export async function rotateSecret(producerId: string, options: RotateOptions): Promise<void> {
  const { grace, force = false, envFile, json } = options;
  using admin = openAdmin(options);
  if (grace === 0 || force) {
    const what =
      grace === 0
        ? `This ends every secret that ${producerId} has at once: it is refused until it has the new one.`
        : `This ends the older secret of ${producerId} at once, although a rotation may be under way.`;
    await confirm(what, { yes: options.yes, signal: admin.signal });
  }
  const known = envFile === undefined ? undefined : takeProducerFile(envFile, producerId);
  const file = known?.file ?? (envFile === undefined ? undefined : takeNewFile(envFile));
  try {
    const { secret, producer } = await callOn(
      admin,
      producerId,
      admin.producers.rotateProducerSecret({
        producerId,
        force,
        ...(grace !== undefined && { graceSeconds: grace }),
      }),
      {
        advice: {
          ROTATION_UNDER_WAY:
            `A rotation of ${producerId} is under way: two secrets are live, as "countersign producers ` +
            `show ${producerId}" tells. Wait until the older has ended, or add --force to end it now.`,
        },
        doubt:
          `Whether it was done is not known: "countersign producers show ${producerId}" tells. If so, the ` +
          `new secret is lost; "countersign producers rotate ${producerId} --force" makes another.`,
      },
    );
    const variables = `PRODUCER_ID=${producerId}\nHMAC_PRODUCER_SECRET=${secret}\n`;
    const isInFile = await handOver(
      {
        name: "secret",
        value: secret,
        variables,
        ifLost: `Make another: "countersign producers rotate ${producerId} --force".`,
      },
      {
        file,
        fileText: known?.withSecret(secret) ?? variables + serverUrlLine(admin.access),
        json,
        others: producer === undefined ? {} : { producer: producerJson(producer) },
      },
    );
    if (producer !== undefined) tellOverlap(producer);
    if (isInFile) note(`${envFile} has the new secret: start the bot anew with it`);
    else tellNext(producerId, undefined, admin.access);
  } catch (error) {
    file?.discard();
    throw error;
  }
}

/** Until when the bot must have the new secret. */
function tellOverlap({ producerId, secrets: [, before] }: Producer): void {
  const end = before?.expireTime;
  if (before === undefined || end === undefined) return;
  const when = whenText(end, epochMs(systemClock));
  note(`the secret before, ${before.secretId}, still signs for ${producerId} until ${when}`);
}

/** `countersign producers revoke`. */
export async function revokeSecret(
  producerId: string,
  secretId: string,
  options: RevokeOptions,
): Promise<void> {
  requirePublicId(secretId, "secret", ". Rotate it.");
  using admin = openAdmin(options);
  const { secrets } = await getProducer(admin, producerId);
  const secret = secrets.find((each) => each.secretId === secretId);
  if (secret !== undefined) {
    await confirm(whatRevokingDoes(producerId, secret, secrets.length === 1), {
      yes: options.yes,
      signal: admin.signal,
    });
  }
  const { producer } = await admin.call(
    admin.producers.revokeProducerSecret({ producerId, secretId }),
    {
      advice: {
        NOT_FOUND:
          `${producerId} has no secret ${secretId}` +
          `${didYouMean(
            secretId,
            secrets.map((each) => each.secretId),
          )}: ` +
          `"countersign producers show ${producerId}" lists them.`,
      },
      doubt: DOUBT,
    },
  );
  const after = present(producer);
  await printProducer(after, options, `secret ${secretId} revoked`);
  if (after.secrets.length === 0) {
    note(
      `${producerId} cannot send until it has a new secret: "countersign producers rotate ${producerId}"`,
    );
  }
}

function whatRevokingDoes(producerId: string, secret: ProducerSecret, isLast: boolean): string {
  const used =
    secret.lastUsedTime === undefined
      ? "was never used"
      : `was last used ${whenText(secret.lastUsedTime, epochMs(systemClock))}`;
  const last = isLast
    ? ` It is the only one, so ${producerId} cannot send until it has another.`
    : "";
  return `This ends the secret ${secret.secretId} of ${producerId}, which ${used}.${last}`;
}

/** A message that each answer has. */
function present(producer: Producer | undefined): Producer {
  if (producer === undefined) throw new Error("The server's answer has no producer.");
  return producer;
}
