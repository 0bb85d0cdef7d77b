#!/usr/bin/env python3
"""A bot that hands over one signal, with Python's standard library only.

    set -a; . .countersign/producer.env; set +a
    python3 examples/producer.py          # by Connect, in JSON
    python3 examples/producer.py --rest   # by REST

The environment says who the bot is and where the server is: PRODUCER_ID,
HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL. It may also name a proxy (https_proxy,
http_proxy), which is passed over for a server on this machine.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

CONNECT_PATH = "/signals.v1.IngestService/Ingest"
REST_PATH = "/api/v1/signals/ingest"

ATTEMPTS_MAX = 5
FIRST_DELAY_SECONDS = 0.25
TIMEOUT_SECONDS = 30
# A longer pause than this is not waited for.
RETRY_AFTER_MAX_SECONDS = 60
# The server is busy or restarting, or a proxy could not reach it. Any other error is about
# the request, and would only come again.
RETRYABLE_STATUS = {429, 500, 502, 503, 504}


class Refused(Exception):
    """The server's answer is no."""


class Undelivered(Exception):
    """No answer came. The signal may have been stored: send it again under the same key."""


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def signed_headers(secret, producer_id, path, body):
    """Signs the exact bytes of the body, as of now."""
    timestamp = utc_now()
    text = "\n".join([
        "METHOD:POST",
        "ENDPOINT:" + path,
        "TIMESTAMP:" + timestamp,
        "PRODUCER_ID:" + producer_id,
        "BODY_SHA256:" + base64.b64encode(hashlib.sha256(body).digest()).decode(),
    ])
    mac = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "x-producer-id": producer_id,
        "x-timestamp": timestamp,
        "x-signature": base64.b64encode(mac).decode(),
    }


def is_this_machine(server):
    host = urllib.parse.urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def opener_for(server):
    """What opens URLs. The loopback of a proxy is another machine's, so none is asked for ours."""
    proxies = [urllib.request.ProxyHandler({})] if is_this_machine(server) else []
    return urllib.request.build_opener(*proxies)


def deliver(server, path, secret, producer_id, message):
    """Posts a message until there is an answer, and returns it.

    The message is serialised once, here. These bytes are signed and sent, in each attempt
    the same, so the idempotency key within makes every repeat harmless. Only the timestamp
    and the signature are new in each attempt.
    """
    body = json.dumps(message).encode()
    opener = opener_for(server)
    problem = "no attempt was made"
    for attempt in range(1, ATTEMPTS_MAX + 1):
        headers = signed_headers(secret, producer_id, path, body)
        request = urllib.request.Request(server + path, body, headers)
        # Shortened by chance, so that bots that failed together do not come back together.
        delay = FIRST_DELAY_SECONDS * 2 ** (attempt - 1) * random.uniform(0.8, 1)
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return stored(json.load(response))
        except urllib.error.HTTPError as error:
            problem = describe(error)
            if error.code not in RETRYABLE_STATUS:
                raise Refused(problem) from None
            delay = max(delay, retry_after_seconds(error))
            if delay > RETRY_AFTER_MAX_SECONDS:
                break
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The connection failed or broke, or what came was not this server's answer.
            problem = f"{type(error).__name__}: {error}"
        if attempt < ATTEMPTS_MAX:
            print(f"Attempt {attempt} failed, trying again: {problem}", file=sys.stderr)
            time.sleep(delay)
    raise Undelivered(problem)


def stored(answer):
    """The answer, if it proves that the signal is stored: only an id does."""
    # Connect writes lowerCamelCase, REST writes snake_case.
    if isinstance(answer, dict) and (answer.get("signalId") or answer.get("signal_id")):
        return answer
    raise ValueError("the answer names no signal id")


def retry_after_seconds(error):
    text = error.headers.get("retry-after", "")
    return int(text) if text.isdecimal() else 0


def describe(error):
    """What an error of either protocol says, in one line."""
    try:
        problem = json.load(error)
    except (OSError, http.client.HTTPException, ValueError):
        problem = None
    if not isinstance(problem, dict):
        return f"HTTP {error.code} {error.reason}"
    # Connect says "message", REST (RFC 9457) says "detail"; both name every wrong field in it.
    reason = problem.get("reason") or problem.get("code")
    return f"HTTP {error.code} {reason}: {problem.get('message') or problem.get('detail')}"


def connect_message():
    """The IngestRequest of signals/v1/ingest_service.proto."""
    return {
        "signal": {
            "instrument": "GOLD",
            "side": "SIDE_BUY",
            "entryPrice": 2650.5,
            "stopLoss": 2640,
            "takeProfit": 2680.25,
            "confidence": 0.87,
            "riskPercent": 1.5,
            "strategyName": "breakout-h1",
            "reason": "Close above the range",
            "signalTime": utc_now(),
            "payload": {"timeframe": "H1", "indicators": {"rsi": 61.5}},
        },
        # One key for each decision, kept through all attempts.
        "idempotencyKey": str(uuid.uuid4()),
    }


def rest_message():
    """The same signal in the flat JSON of REST."""
    return {
        "instrument": "GOLD",
        "side": "buy",
        "entry_price": 2650.5,
        "stop_loss": 2640,
        "take_profit": 2680.25,
        "confidence": 0.87,
        "risk_percent": 1.5,
        "strategy_name": "breakout-h1",
        "reason": "Close above the range",
        "timestamp": utc_now(),
        "payload": {"timeframe": "H1", "indicators": {"rsi": 61.5}},
        "idempotency_key": str(uuid.uuid4()),
    }


def main():
    for name in ("PRODUCER_ID", "HMAC_PRODUCER_SECRET", "OUTBOUND_SERVER_URL"):
        if not os.environ.get(name):
            return f"{name} is not set. The server wrote it to .countersign/producer.env"
    producer_id = os.environ["PRODUCER_ID"]
    secret = os.environ["HMAC_PRODUCER_SECRET"]
    server = os.environ["OUTBOUND_SERVER_URL"].rstrip("/")

    is_rest = "--rest" in sys.argv[1:]
    path = REST_PATH if is_rest else CONNECT_PATH
    message = rest_message() if is_rest else connect_message()
    try:
        answer = deliver(server, path, secret, producer_id, message)
    except Refused as refused:
        return f"The signal was refused. {refused}"
    except Undelivered as undelivered:
        return f"The signal's fate is not known. {undelivered}"
    # Connect leaves out false.
    signal_id = answer.get("signalId") or answer.get("signal_id")
    outcome = "duplicate" if answer.get("duplicate") else "stored"
    print(outcome, signal_id, answer.get("status"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
