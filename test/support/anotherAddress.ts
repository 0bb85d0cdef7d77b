/**
 * Addresses of the loopback network that no other request of a test comes from, so that what
 * strangers use up by their address is not missing elsewhere.
 */
let given = 0;

/** Such as `127.1.0.1`, each time another. There are sixteen million. */
export function anotherAddress(): string {
  given += 1;
  return `127.${1 + (given >> 16)}.${(given >> 8) & 255}.${given & 255}`;
}
