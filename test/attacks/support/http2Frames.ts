/**
 * HTTP/2 by the byte (RFC 9113, section 4; RFC 7541), to send what no client library
 * would: frames in any order, with any header and any length.
 */

/** What a connection begins with. */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7 } as const;
export const END_STREAM = 0x1;
const END_HEADERS = 0x4;

/** Reset codes (RFC 9113, section 7). */
export const NO_ERROR = 0;
export const CANCEL = 8;

/** Any frame. `length` lies about the payload if it is given. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A connection's start: the preface and empty settings. */
export function opening(): Buffer {
  return Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]);
}

/** A HEADERS frame with the header fields in this order, none of them indexed. */
export function headers(
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags = 0,
): Buffer {
  const block = fields.map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), literal(name), literal(value)]),
  );
  return frame(FRAME.headers, END_HEADERS | flags, stream, Buffer.concat(block));
}

/** The pseudo header fields of a POST. */
export function post(path: string, authority = "localhost"): (readonly [string, string])[] {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":authority", authority],
    [":path", path],
  ];
}

export function data(stream: number, bytes: Uint8Array, flags = 0): Buffer {
  return frame(FRAME.data, flags, stream, bytes);
}

export function reset(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(FRAME.reset, 0, stream, payload);
}

/** A string literal without Huffman code (RFC 7541, section 5.2). */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([prefixedInteger(bytes.length), bytes]);
}

/** An integer with a 7-bit prefix (RFC 7541, section 5.1). */
function prefixedInteger(value: number): Buffer {
  const prefixMax = 127;
  if (value < prefixMax) return Buffer.from([value]);
  const bytes = [prefixMax];
  let rest = value - prefixMax;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}
