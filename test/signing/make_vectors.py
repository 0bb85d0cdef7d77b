#!/usr/bin/env python3
"""Writes vectors.json to standard output: python3 make_vectors.py > vectors.json

The expected values come from two command-line programs, so from none of the code that
the vectors test: `openssl dgst` for hashes and signatures, GNU `date` for instants.
The same input always gives the same output.
"""

import base64
import json
import re
import subprocess
import sys

SECRET = "countersign-example-secret-0001"
NEXT_SECRET = "countersign-example-secret-0002"
OTHER_SECRET = "nobody-registered-this-secret"
UTF8_SECRET = "Geheimnis-\u00fcber-\u9ec4\u91d1-\U0001f511"
LONG_SECRET = "longer-than-the-64-byte-block-of-sha256-" * 3

RPC = "/signals.v1.IngestService/Ingest"
BATCH = "/signals.v1.IngestService/IngestBatch"
REST = "/api/v1/signals/ingest"
TIME = "2025-10-25T14:30:45.123456Z"
PRODUCER = "bot-1"

JSON_BODY = (
    '{"signal":{"instrument":"GOLD","side":"SIDE_BUY","entryPrice":2650.5,"stopLoss":2640,'
    '"strategyName":"trend","signalTime":"2025-10-25T14:30:45Z"},"idempotencyKey":"trend-000001"}'
)
UNICODE_BODY = (
    '{"signal":{"instrument":"GOLD","side":"SIDE_SELL","entryPrice":2650.5,'
    '"reason":"r\u00e9sistance \u2248 2\u202f660 \u2014 \u9ec4\u91d1 \U0001f4c9",'
    '"signalTime":"2025-10-25T14:30:45Z"}}'
)
REST_BODY = '{"instrument":"GOLD","side":"buy","entry_price":2650.5,"timestamp":"2025-10-25T14:30:45Z"}'
# signals.v1.IngestRequest and IngestBatchRequest, serialised by `buf convert`.
REQUEST = base64.b64decode(
    "CjIKBEdPTEQQARkAAAAAALWkQCEAAAAAAKCkQCkAAAAAAPCkQEIFdHJlbmRaBgiVvvPHBhIMdHJlbmQtMDAwMDAx"
)
BATCH_REQUEST = base64.b64decode(
    "CkIKMgoER09MRBABGQAAAAAAtaRAIQAAAAAAoKRAKQAAAAAA8KRAQgV0cmVuZFoGCJW+88cGEgx0cmVuZC0wMDAwMDE="
)
ALL_BYTES = bytes(range(256))


def openssl(data, *options):
    command = ["openssl", "dgst", "-sha256", "-binary", *options]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def hmac_sha256(secret, data):
    key = secret if isinstance(secret, bytes) else secret.encode()
    return openssl(data, "-mac", "HMAC", "-macopt", "hexkey:" + key.hex())


def b64(data):
    return base64.b64encode(data).decode()


def as_bytes(body):
    return body if isinstance(body, bytes) else body.encode()


def string_to_sign(endpoint, timestamp, producer, body):
    return (
        f"METHOD:POST\nENDPOINT:{endpoint}\nTIMESTAMP:{timestamp}\n"
        f"PRODUCER_ID:{producer}\nBODY_SHA256:{b64(openssl(as_bytes(body)))}"
    )


def unix_ns(timestamp):
    command = ["date", "--utc", "--date", timestamp, "+%s%N"]
    text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    # For an instant before 1970, date prints whole seconds rounded down, then the rest.
    seconds, nanoseconds = text[:-9], text[-9:]
    return str(int(seconds) * 10**9 + int(nanoseconds))


VECTORS = []


def add(name, note, cause=None, *, secrets=(SECRET,), endpoint=RPC, timestamp=TIME, producer=PRODUCER,
        body=JSON_BODY, signature=None):
    text = string_to_sign(endpoint, timestamp, producer, body)
    if signature is None:
        signature = b64(hmac_sha256(secrets[0], text.encode()))
    vector = {
        "name": name,
        "note": note,
        "secrets": list(secrets),
        "method": "POST",
        "endpoint": endpoint,
        "timestamp": timestamp,
        "producer_id": producer,
    }
    if isinstance(body, bytes):
        vector["body_base64"] = b64(body)
    else:
        vector["body_utf8"] = body
    vector["string_to_sign"] = text
    vector["signature"] = signature
    if cause is None:
        vector["unix_ns"] = unix_ns(timestamp)
    vector["expected"] = "valid" if cause is None else "invalid"
    if cause is not None:
        vector["cause"] = cause
    if name in {other["name"] for other in VECTORS}:
        sys.exit(f"two vectors are named {name}")
    VECTORS.append(vector)


def signed(secret=SECRET, endpoint=RPC, timestamp=TIME, producer=PRODUCER, body=JSON_BODY):
    return b64(hmac_sha256(secret, string_to_sign(endpoint, timestamp, producer, body).encode()))


# --- valid: bodies and endpoints -----------------------------------------------------
add("worked_example", "The worked example of docs/signing.md: Connect with JSON.")
add("protobuf", "gRPC, gRPC-Web, and Connect with protobuf sign the same message bytes.", body=REQUEST)
add("protobuf_batch", "One signature over a whole batch.", endpoint=BATCH, body=BATCH_REQUEST)
add("rest", "The REST endpoint.", endpoint=REST, body=REST_BODY)
add("rest_short_path", "The other REST endpoint: the path that was called is the one signed.",
    endpoint="/api/v1/signals", body=REST_BODY)
add("json_unicode", "The body is hashed as UTF-8 bytes, not escaped.", body=UNICODE_BODY)
add("body_empty", "SHA-256 of nothing. Whether an empty message makes sense is not judged here.", body="")
add("body_trailing_newline", "A newline at the end of the body is part of the body.", body=JSON_BODY + "\n")
add("body_pretty_printed", "Blanks and line breaks are signed as they were sent.",
    body='{\r\n  "signal": {\r\n    "instrument": "GOLD"\r\n  }\r\n}')
add("body_every_byte", "All 256 byte values, not valid UTF-8.", body=ALL_BYTES)
add("body_looks_like_lines", "Lines of the string to sign inside the body change nothing.",
    body="{}\nPRODUCER_ID:bot-2\nBODY_SHA256:")

# --- valid: timestamps ---------------------------------------------------------------
for name, note, timestamp in [
    ("time_whole_second", "No fraction.", "2025-10-25T14:30:45Z"),
    ("time_1_digit", "One fraction digit.", "2025-10-25T14:30:45.1Z"),
    ("time_3_digits", "Milliseconds, as JavaScript prints them.", "2025-10-25T14:30:45.123Z"),
    ("time_9_digits", "Nanoseconds.", "2025-10-25T14:30:45.123456789Z"),
    ("time_trailing_zeros", "Signed verbatim, zeros included.", "2025-10-25T14:30:45.120000000Z"),
    ("time_offset_plus", "An offset of +05:30, signed verbatim, not converted to UTC.",
     "2025-10-25T20:00:45.123456+05:30"),
    ("time_offset_minus", "An offset west of Greenwich that crosses midnight.", "2025-10-25T23:30:45-08:00"),
    ("time_offset_zero", "+00:00 is the same instant as Z, but another text.", "2025-10-25T14:30:45+00:00"),
    ("time_offset_unknown", "-00:00 is allowed by RFC 3339, section 4.3.", "2025-10-25T14:30:45-00:00"),
    ("time_offset_largest", "The largest offset.", "2025-10-26T14:29:45+23:59"),
    ("time_leap_day", "29 February of a leap year.", "2024-02-29T23:59:59Z"),
    ("time_leap_day_2000", "A year divisible by 400 is a leap year.", "2000-02-29T00:00:00Z"),
    ("time_before_epoch", "Well-formed, although no server would find it fresh.", "1969-12-31T23:59:59.5Z"),
    ("time_first", "The first instant.", "0000-01-01T00:00:00Z"),
    ("time_last", "The last instant.", "9999-12-31T23:59:59.999999999Z"),
]:
    add(name, note, timestamp=timestamp)

# --- valid: producers and secrets ----------------------------------------------------
add("producer_1_char", "The shortest producer id.", producer="b")
add("producer_64_chars", "The longest producer id.", producer="b" * 64)
add("producer_all_kinds", "Every kind of character that an id may have.", producer="7Bot.gold_H4-v2")
add("producer_ends_in_dot", "Only the first character is restricted further.", producer="bot.")
add("secret_utf8", "The key is the UTF-8 bytes of the secret.", secrets=(UTF8_SECRET,))
add("secret_long", "A key longer than the block of SHA-256 is hashed first, as HMAC says.", secrets=(LONG_SECRET,))
add("secret_16_bytes", "The shortest secret.", secrets=("0123456789abcdef",))
add("secret_with_blanks", "Blanks around a secret belong to it.", secrets=("  0123456789abcdef\n",))
add("secret_looks_like_base64", "A secret that looks like base64 is not decoded.",
    secrets=("c2VjcmV0LWtleS1mb3ItdGVzdHM=",))
add("rotation_old_secret", "Two live secrets: signed with the first.", secrets=(SECRET, NEXT_SECRET))
add("rotation_new_secret", "Two live secrets: signed with the second.", secrets=(SECRET, NEXT_SECRET),
    signature=signed(NEXT_SECRET))

# --- invalid: the signature is not of this request ------------------------------------
GOOD = signed()
WRONG = "signature_wrong"
add("wrong_body_one_char", "The price was changed on the way.", WRONG,
    body=JSON_BODY.replace("2650.5", "2650.6"), signature=GOOD)
add("wrong_body_newline_added", "A newline was added to the body.", WRONG, body=JSON_BODY + "\n", signature=GOOD)
add("wrong_body_reserialised", "The same JSON value in other bytes.", WRONG,
    body=json.dumps(json.loads(JSON_BODY)), signature=GOOD)
add("wrong_body_dropped", "The body was dropped.", WRONG, body="", signature=GOOD)
add("wrong_body_framed", "gRPC's five-byte prefix was signed together with the message.", WRONG, body=REQUEST,
    signature=signed(body=bytes([0]) + len(REQUEST).to_bytes(4, "big") + REQUEST))
add("wrong_body_bit", "One bit of a binary body was flipped.", WRONG, body=REQUEST[:-1] + bytes([REQUEST[-1] ^ 1]),
    signature=signed(body=REQUEST))
add("wrong_endpoint", "Sent to another endpoint than signed for.", WRONG, endpoint=BATCH, signature=GOOD)
add("wrong_endpoint_slash", "A slash at the end makes another path.", WRONG, endpoint=REST + "/", body=REST_BODY,
    signature=signed(endpoint=REST, body=REST_BODY))
add("wrong_endpoint_full_url", "Signed the URL instead of the path.", WRONG,
    signature=signed(endpoint="https://example.com" + RPC))
add("wrong_timestamp", "An old signature with a new timestamp.", WRONG,
    timestamp="2025-10-25T14:30:46.123456Z", signature=GOOD)
add("wrong_timestamp_same_instant", "The same instant in another text.", WRONG,
    timestamp="2025-10-25T14:30:45.123456+00:00", signature=GOOD)
add("wrong_producer", "Another producer's name on the request.", WRONG, producer="bot-2", signature=GOOD)
add("wrong_producer_case", "Producer ids are case-sensitive.", WRONG, producer="Bot-1", signature=GOOD)
add("wrong_secret", "Signed with a secret that is not the producer's.", WRONG, signature=signed(OTHER_SECRET))
add("wrong_secret_rotated_out", "Two live secrets, signed with neither.", WRONG, secrets=(SECRET, NEXT_SECRET),
    signature=signed(OTHER_SECRET))
add("wrong_no_secrets", "An unknown producer has no secrets, so that nothing can verify.", WRONG, secrets=(),
    signature=GOOD)
add("wrong_secret_decoded", "Base64-decoded the secret before use.", WRONG,
    secrets=("c2VjcmV0LWtleS1mb3ItdGVzdHM=",), signature=signed(b"secret-key-for-tests"))
add("wrong_secret_newline", "The newline of the secret's file was taken into the key.", WRONG,
    signature=signed(SECRET + "\n"))
add("wrong_bit_first", "One bit of the signature's first byte was flipped.", WRONG,
    signature=b64(bytes([base64.b64decode(GOOD)[0] ^ 0x80]) + base64.b64decode(GOOD)[1:]))
add("wrong_bit_last", "One bit of the signature's last byte was flipped.", WRONG,
    signature=b64(base64.b64decode(GOOD)[:-1] + bytes([base64.b64decode(GOOD)[-1] ^ 1])))
add("wrong_zeros", "32 zero bytes.", WRONG, signature=b64(bytes(32)))
TEXT = string_to_sign(RPC, TIME, PRODUCER, JSON_BODY)
for name, note, text in [
    ("wrong_lines_newline_at_end", "Signed a newline after the last line.", TEXT + "\n"),
    ("wrong_lines_crlf", "Joined the lines by CR LF.", TEXT.replace("\n", "\r\n")),
    ("wrong_lines_method_lower_case", "Signed the method in lower case.", TEXT.replace("POST", "post")),
    ("wrong_lines_space", "A blank after each colon of a label.", TEXT.replace("METHOD:", "METHOD: ")),
    ("wrong_lines_body_hash_hex", "Wrote the body's hash in hex.",
     TEXT.rsplit(":", 1)[0] + ":" + openssl(JSON_BODY.encode()).hex()),
]:
    add(name, note, WRONG, signature=b64(hmac_sha256(SECRET, text.encode())))
add("wrong_sha256_without_key", "A plain SHA-256 of the string to sign.", WRONG, signature=b64(openssl(TEXT.encode())))

# --- invalid: the signature is not one -------------------------------------------------
MALFORMED = "signature_malformed"
# This body's signature has both + and / in it, so that the alphabets differ.
NUMBER = next(n for n in range(1000) if {"+", "/"} <= set(signed(body=f'{{"n":{n}}}')))
URL_BODY = f'{{"n":{NUMBER}}}'
URL_SAFE = signed(body=URL_BODY).replace("+", "-").replace("/", "_")
add("base64_standard_twin", "The valid twin of base64_url_safe.", body=URL_BODY)
add("base64_url_safe", "The URL-safe alphabet.", MALFORMED, body=URL_BODY, signature=URL_SAFE)
add("base64_no_padding", "The padding is missing.", MALFORMED, signature=GOOD.rstrip("="))
add("base64_double_padding", "Too much padding.", MALFORMED, signature=GOOD + "=")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
add("base64_not_canonical", "Decodes to the right bytes, but an unused bit of the last character is set.", MALFORMED,
    signature=GOOD[:42] + ALPHABET[ALPHABET.index(GOOD[42]) + 1] + "=")
add("base64_space_before", "A blank before it. (HTTP strips blanks around a header; a verifier does not.)", MALFORMED,
    signature=" " + GOOD)
add("base64_newline_after", "A newline after it, as the base64 program prints one.", MALFORMED, signature=GOOD + "\n")
add("base64_line_break", "Broken into lines.", MALFORMED, signature=GOOD[:22] + "\n" + GOOD[22:])
add("base64_space_for_last_char", "44 characters, one of them a blank.", MALFORMED, signature=GOOD[:43] + " ")
add("signature_hex", "Hex instead of base64.", MALFORMED, signature=base64.b64decode(GOOD).hex())
add("signature_empty", "Empty.", MALFORMED, signature="")
add("signature_31_bytes", "Cut by a byte.", MALFORMED, signature=b64(base64.b64decode(GOOD)[:31]))
add("signature_33_bytes", "A byte too many, also 44 characters.", MALFORMED,
    signature=b64(base64.b64decode(GOOD) + b"\0"))
add("signature_quoted", "In quotation marks.", MALFORMED, signature=f'"{GOOD}"')
add("signature_prefixed", "With a scheme before it.", MALFORMED, signature=f"sha256={GOOD}")
add("signature_twice", "The header was sent twice; many servers join the two like this.", MALFORMED,
    signature=f"{GOOD}, {GOOD}")

# --- invalid: the timestamp is not one, although rightly signed ------------------------
for name, note, timestamp in [
    ("time_empty", "Empty.", ""),
    ("time_no_zone", "No zone.", "2025-10-25T14:30:45"),
    ("time_no_such_day", "30 February.", "2024-02-30T00:00:00Z"),
    ("time_no_leap_year", "29 February of a common year.", "2025-02-29T00:00:00Z"),
    ("time_no_leap_year_1900", "A year divisible by 100 but not by 400 is a common year.", "1900-02-29T00:00:00Z"),
    ("time_april_31", "31 April.", "2025-04-31T00:00:00Z"),
    ("time_month_13", "Month 13.", "2025-13-01T00:00:00Z"),
    ("time_month_0", "Month 0.", "2025-00-01T00:00:00Z"),
    ("time_day_0", "Day 0.", "2025-10-00T00:00:00Z"),
    ("time_hour_24", "Hour 24.", "2025-10-25T24:00:00Z"),
    ("time_minute_60", "Minute 60.", "2025-10-25T14:60:00Z"),
    ("time_leap_second", "A leap second is refused.", "2016-12-31T23:59:60Z"),
    ("time_10_digits", "Ten fraction digits.", "2025-10-25T14:30:45.1234567890Z"),
    ("time_dot_without_digits", "A dot without digits.", "2025-10-25T14:30:45.Z"),
    ("time_comma", "A comma before the fraction.", "2025-10-25T14:30:45,123Z"),
    ("time_lower_case_t", "t in lower case.", "2025-10-25t14:30:45Z"),
    ("time_lower_case_z", "z in lower case.", "2025-10-25T14:30:45z"),
    ("time_space_for_t", "A blank instead of T.", "2025-10-25 14:30:45Z"),
    ("time_offset_hour_24", "Hour 24 in the offset.", "2025-10-25T14:30:45+24:00"),
    ("time_offset_minute_60", "Minute 60 in the offset.", "2025-10-25T14:30:45+05:60"),
    ("time_offset_no_colon", "No colon in the offset.", "2025-10-25T14:30:45+0530"),
    ("time_offset_hours_only", "No minutes in the offset.", "2025-10-25T14:30:45+05"),
    ("time_offset_and_z", "Offset and Z.", "2025-10-25T14:30:45+00:00Z"),
    ("time_unix_seconds", "Unix seconds.", "1761402645"),
    ("time_no_seconds", "No seconds.", "2025-10-25T14:30Z"),
    ("time_date_only", "Only a date.", "2025-10-25"),
    ("time_year_5_digits", "A year of five digits.", "12025-10-25T14:30:45Z"),
    ("time_year_2_digits", "A year of two digits.", "25-10-25T14:30:45Z"),
    ("time_space_after", "A blank after it.", "2025-10-25T14:30:45Z "),
    ("time_newline_after", "A newline after it, which $ matches before in some regular expressions.",
     "2025-10-25T14:30:45Z\n"),
    ("time_arabic_digits", "Digits that are not ASCII.", "\u0662\u0660\u0662\u0665-10-25T14:30:45Z"),
    ("time_twice", "The header was sent twice.", "2025-10-25T14:30:45Z, 2025-10-25T14:30:45Z"),
    ("time_before_first", "In UTC it lies before the year 0000.", "0000-01-01T00:00:00+00:01"),
    ("time_after_last", "In UTC it lies after the year 9999.", "9999-12-31T23:59:59-00:01"),
]:
    add(name, note, "timestamp_malformed", timestamp=timestamp)

# --- invalid: the producer id is not one, although rightly signed ----------------------
for name, note, producer in [
    ("producer_empty", "Empty.", ""),
    ("producer_65_chars", "One character too long.", "b" * 65),
    ("producer_starts_with_dot", "Starts with a dot.", ".bot"),
    ("producer_starts_with_hyphen", "Starts with a hyphen.", "-bot"),
    ("producer_starts_with_underscore", "Starts with an underscore.", "_bot"),
    ("producer_space", "A blank inside.", "bot 1"),
    ("producer_slash", "A slash inside.", "bot/1"),
    ("producer_newline_after", "A newline after it.", "bot-1\n"),
    ("producer_umlaut", "A letter that is not ASCII.", "b\u00f6t-1"),
    ("producer_nul", "A NUL inside.", "bot\u00001"),
    ("producer_twice", "The header was sent twice.", "bot-1, bot-1"),
]:
    add(name, note, "producer_id_malformed", producer=producer)

# --- invalid: the endpoint is not one, although rightly signed -------------------------
for name, note, endpoint in [
    ("endpoint_query", "A query string.", REST + "?dry_run=true"),
    ("endpoint_empty_query", "A question mark alone.", REST + "?"),
    ("endpoint_fragment", "A fragment.", REST + "#x"),
    ("endpoint_no_slash", "No slash at the start.", RPC[1:]),
    ("endpoint_full_url", "A whole URL.", "https://example.com" + RPC),
    ("endpoint_line_feed", "A line feed, which would move the boundaries of the lines.",
     RPC + "\nTIMESTAMP:2025-10-25T14:30:45Z"),
    ("endpoint_not_ascii", "A character that has to be percent-encoded in a path.", "/signale/\u00fc"),
]:
    add(name, note, "endpoint_malformed", endpoint=endpoint)

DOCUMENT = {
    "description": (
        "Test vectors for the request signature of docs/signing.md. The secrets are for tests only. "
        "The body is the UTF-8 bytes of body_utf8, or what body_base64 decodes to. string_to_sign is that "
        "of the request as it arrives. unix_ns is the timestamp's instant. When expected is invalid, cause "
        "is the first rule that fails, in this order: producer_id_malformed, timestamp_malformed, "
        "signature_malformed, endpoint_malformed, signature_wrong. Freshness is not part of the vectors."
    ),
    "vectors": VECTORS,
}


def on_one_line(match):
    """Joins a short list, as the project's formatter does."""
    joined = re.sub(r"\n\s*", " ", match[0]).replace("[ ", "[").replace(" ]", "]")
    return joined if len(joined) <= 100 else match[0]


print(re.sub(r'^ *"secrets": \[[^\]]*\],$', on_one_line, json.dumps(DOCUMENT, indent=2), flags=re.M))
