/**
 * Rotation of the master key: all secrets are sealed anew in one step, also while servers run.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { AccessStore, SealedSecrets } from "../../access/index.ts";
import { isSealedUnder, type SecretBox } from "../../server/auth/secretBox.ts";
import { assertOpens } from "../../server/config/masterKey.ts";
import { unavailableError } from "../cliError.ts";

/** What a rotation does. */
export interface Rotation {
  /** The ids of both keys: the same where secrets are only brought to the form of now. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** How many secrets are sealed anew. */
  readonly resealed: number;
  /** Secrets that no key at hand opens, as before. They stay as they are. */
  readonly unopened: number;
}

const ACTOR_NAME = "countersign master-key rotate";
const STORE_TIMEOUT_MS = 10_000;
/** While it works, producers may be added, and then all of it is to be done again. */
const ATTEMPTS_MAX = 10;
const PAUSE_MAX_MS = 200;

/**
 * What is to be done so that every secret is sealed under the first key of a box.
 *
 * @param file where the keys are from; `undefined` if from the environment.
 * @returns `undefined` if nothing is to be done.
 * @throws ConfigError if the keys of the box are not those that secrets are sealed under.
 */
export function planRotation(
  box: SecretBox,
  sealed: SealedSecrets,
  file: string | undefined,
): Rotation | undefined {
  assertOpens(box, sealed, file);
  const to = box.keyIds[0] as Uint8Array;
  const from = sealed.sealingKeyId ?? (box.keyIds.at(-1) as Uint8Array);
  const old = sealed.secrets.filter((each) => !isSealedUnder(each.sealed, to));
  const resealed = old.filter((each) => box.opens(each.sealed, each.producerId)).length;
  if (resealed === 0 && Buffer.from(from).equals(to)) return undefined;
  return { from, to, resealed, unopened: old.length - resealed };
}

/**
 * Seals every secret under the first key of a box. Repeating it is harmless.
 *
 * @returns what was done; `undefined` if nothing was to be done.
 * @throws ConfigError as {@link planRotation}.
 * @throws StoreUnavailableError
 * @throws CliError if secrets are added again and again meanwhile.
 */
export async function sealAnew(
  store: Pick<AccessStore, "loadSealedSecrets" | "resealSecrets">,
  box: SecretBox,
  file: string | undefined,
): Promise<Rotation | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const sealed = await store.loadSealedSecrets(STORE_TIMEOUT_MS);
    const plan = planRotation(box, sealed, file);
    if (plan === undefined) return undefined;
    const action = Buffer.from(plan.from).equals(plan.to)
      ? "master_key.reseal"
      : "master_key.rotate";
    const secrets = sealed.secrets.map(({ secretId, producerId, sealed: before }) => {
      const isKept = isSealedUnder(before, plan.to) || !box.opens(before, producerId);
      return { secretId, sealed: isKept ? before : box.reseal(before, producerId, plan.to) };
    });
    const outcome = await store.resealSecrets(secrets, plan, action, ACTOR_NAME, STORE_TIMEOUT_MS);
    if (outcome === "done") return plan;
    await sleep(Math.random() * PAUSE_MAX_MS);
  }
  throw unavailableError("Producers are added all the time, so nothing was changed. Try again.");
}
