#!/bin/sh
# Calls the service with `buf curl`, over gRPC and over Connect; `countersign sign` makes the
# headers.
#
#   set -a; . .countersign/producer.env; set +a
#   sh examples/buf-curl.sh
#
# The environment says who the bot is and where the server is: PRODUCER_ID,
# HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL.
set -eu
: "${PRODUCER_ID:?is not set}" "${HMAC_PRODUCER_SECRET:?is not set}" "${OUTBOUND_SERVER_URL:?is not set}"

# buf, and the Node.js that the project needs, come with `npm ci`.
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
countersign() { node bin/countersign.js "$@"; }

url="${OUTBOUND_SERVER_URL%/}/signals.v1.IngestService/Ingest"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
body=$work/body.json
headers=$work/headers.txt

cat > "$body" <<JSON
{
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
    "signalTime": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
    "payload": {"timeframe": "H1", "indicators": {"rsi": 61.5}}
  },
  "idempotencyKey": "$(openssl rand -hex 16)"
}
JSON

# The signature covers the bytes on the wire. buf curl turns the JSON into protobuf before it
# sends it, over Connect as well, so the JSON itself must not be signed: --message signs the
# protobuf that buf makes of it.
countersign sign --body "$body" --message IngestRequest --format headers > "$headers"

echo "gRPC:"
buf curl --schema proto --protocol grpc --http2-prior-knowledge \
  --header "@$headers" --data "@$body" "$url"

# The same key over another protocol gives the first result again: "duplicate": true.
echo "Connect:"
buf curl --schema proto --protocol connect \
  --header "@$headers" --data "@$body" "$url"
