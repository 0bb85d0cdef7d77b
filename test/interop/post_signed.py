#!/usr/bin/env python3
"""Signs and posts one JSON body the way a Python producer would, for the tests.

Reads a JSON object from standard input: url, path, producer_id, secret, message and
optionally headers. Serialises the message with json.dumps as it is by default, with its
blanks and escapes, which no JavaScript makes. Prints the answer as {"status", "body"}.
Shares no code with the server.
"""

import base64
import datetime
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request

job = json.load(sys.stdin)
body = json.dumps(job["message"]).encode()
timestamp = datetime.datetime.now(datetime.timezone.utc).isoformat()
text = "\n".join([
    "METHOD:POST",
    "ENDPOINT:" + job["path"],
    "TIMESTAMP:" + timestamp,
    "PRODUCER_ID:" + job["producer_id"],
    "BODY_SHA256:" + base64.b64encode(hashlib.sha256(body).digest()).decode(),
])
mac = hmac.new(job["secret"].encode(), text.encode(), hashlib.sha256).digest()
headers = {
    "content-type": "application/json",
    "x-producer-id": job["producer_id"],
    "x-timestamp": timestamp,
    "x-signature": base64.b64encode(mac).decode(),
    **job.get("headers", {}),
}
request = urllib.request.Request(job["url"] + job["path"], body, headers)
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        status, answer_body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, answer_body = error.code, error.read()
json.dump({"status": status, "body": json.loads(answer_body)}, sys.stdout)
