#!/usr/bin/env python3
"""Checks the signature's test vectors with nothing but Python's standard library.

Usage: check_vectors.py [vectors.json]

It is written from docs/signing.md and shares no code with the server or its client.
Prints "N vectors passed", or each mismatch, and then ends with status 1.
"""

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import sys

DEFAULT_PATH = pathlib.Path(__file__).parent.parent / "signing" / "vectors.json"

# Python's \d also matches digits beyond ASCII, and its $ also matches before a newline at
# the end; hence [0-9] and fullmatch.
PRODUCER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
EPOCH = datetime.datetime(1970, 1, 1)
# 0000-01-01T00:00:00Z, and the first second after the year 9999.
FIRST_SECOND, END_SECOND = -62167219200, 253402300800
# The Gregorian calendar repeats after 400 years, which are this many days.
DAYS_IN_400_YEARS = 146097


def unix_ns(text):
    """The instant in nanoseconds since 1970, or None if the text is not a timestamp."""
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hour, offset_minute = match.groups()[6:]
    # datetime knows no year 0, so that one is counted 400 years later.
    shift = 400 if year == 0 else 0
    try:
        local = datetime.datetime(year + shift, month, day, hour, minute, second)
    except ValueError:
        return None
    elapsed = local - EPOCH
    seconds = elapsed.days * 86400 + elapsed.seconds
    if shift:
        seconds -= DAYS_IN_400_YEARS * 86400
    if sign is not None:
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            return None
        offset = int(offset_hour) * 3600 + int(offset_minute) * 60
        seconds += offset if sign == "-" else -offset
    if not FIRST_SECOND <= seconds < END_SECOND:
        return None
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def signature_bytes(text):
    """The 32 bytes of a signature, or None if the text is not their one base64 form."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return data if len(data) == 32 and base64.b64encode(data).decode() == text else None


def is_endpoint(text):
    return text.startswith("/") and all("!" <= char <= "~" and char not in "?#" for char in text)


def string_to_sign(vector, body):
    return "\n".join(
        [
            "METHOD:" + vector["method"],
            "ENDPOINT:" + vector["endpoint"],
            "TIMESTAMP:" + vector["timestamp"],
            "PRODUCER_ID:" + vector["producer_id"],
            "BODY_SHA256:" + base64.b64encode(hashlib.sha256(body).digest()).decode(),
        ]
    )


def cause_of_refusal(vector, text):
    """The first rule that fails, or None if the signature is valid."""
    if PRODUCER_ID.fullmatch(vector["producer_id"]) is None:
        return "producer_id_malformed"
    if unix_ns(vector["timestamp"]) is None:
        return "timestamp_malformed"
    signature = signature_bytes(vector["signature"])
    if signature is None:
        return "signature_malformed"
    if not is_endpoint(vector["endpoint"]):
        return "endpoint_malformed"
    matches = [
        hmac.compare_digest(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest(), signature)
        for secret in vector["secrets"]
    ]
    return None if any(matches) else "signature_wrong"


def mismatches(vector):
    """What this program finds otherwise than the vector says."""
    if "body_utf8" in vector:
        body = vector["body_utf8"].encode()
    else:
        body = base64.b64decode(vector["body_base64"], validate=True)
    text = string_to_sign(vector, body)
    cause = cause_of_refusal(vector, text)
    found = {"string_to_sign": text, "expected": "valid" if cause is None else "invalid", "cause": cause}
    if cause is None:
        found["unix_ns"] = str(unix_ns(vector["timestamp"]))
    return [
        f"{vector['name']}: {field} is {vector.get(field)!r}, but was found to be {value!r}"
        for field, value in found.items()
        if vector.get(field) != value
    ]


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PATH
    vectors = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    problems = [problem for vector in vectors for problem in mismatches(vector)]
    if not vectors:
        problems.append(f"{path} holds no vectors")
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(vectors)} vectors passed")


if __name__ == "__main__":
    main()
