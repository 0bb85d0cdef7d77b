#!/bin/sh
# A bot that hands over one signal by REST, with nothing but curl and openssl.
#
#   set -a; . .countersign/producer.env; set +a
#   sh examples/producer.sh
#
# The environment says who the bot is and where the server is: PRODUCER_ID,
# HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL. It may also name a proxy (https_proxy,
# http_proxy), which is passed over for a server on this machine.
set -eu
: "${PRODUCER_ID:?is not set}" "${HMAC_PRODUCER_SECRET:?is not set}" "${OUTBOUND_SERVER_URL:?is not set}"

# The loopback of a proxy is another machine's, so none is asked for ours.
host=$(printf %s "${OUTBOUND_SERVER_URL#*://}" | tr '[:upper:]' '[:lower:]')
host=${host%%/*}
case $host in
  localhost | localhost:* | '[::1]'*) is_loopback=yes ;;
  *[!0-9.:]*) is_loopback=no ;;
  127.*) is_loopback=yes ;;
  *) is_loopback=no ;;
esac
if [ "$is_loopback" = yes ]; then export no_proxy='*' NO_PROXY='*'; fi

endpoint=/api/v1/signals/ingest
attempts_max=5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key as the two blocks of 64 bytes that RFC 2104 mixes it into, as escapes for printf.
# `openssl dgst -hmac` would be shorter, but shows the secret to every user of this machine
# who lists its processes, and so does `-macopt`. printf is part of the shell (dash, bash,
# zsh, ksh93, busybox), so the secret is on no command line here.
inner='' outer=''
for byte in $(
  {
    if [ "$(printf %s "$HMAC_PRODUCER_SECRET" | wc -c)" -le 64 ]; then
      printf %s "$HMAC_PRODUCER_SECRET"
    else
      printf %s "$HMAC_PRODUCER_SECRET" | openssl dgst -sha256 -binary
    fi
    head -c 64 /dev/zero
  } | od -An -v -tx1 -N64
); do
  inner=$inner$(printf '\\0%03o' $((0x$byte ^ 0x36)))
  outer=$outer$(printf '\\0%03o' $((0x$byte ^ 0x5c)))
done

# Standard base64 of the SHA-256 of standard input.
sha256() { openssl dgst -sha256 -binary | openssl base64 -A; }
# Standard base64 of the HMAC-SHA256 of a file: two hashes, one in the other (RFC 2104).
hmac_sha256() {
  {
    printf %b "$outer"
    { printf %b "$inner" && cat "$1"; } | openssl dgst -sha256 -binary
  } | sha256
}

# The body is written once, to a file: these bytes are signed and these bytes are sent, in
# every attempt. The key within makes each repeat harmless. The file ends with a newline, and
# the newline is signed as well.
cat > "$work/body.json" <<JSON
{
  "instrument": "GOLD",
  "side": "buy",
  "entry_price": 2650.5,
  "stop_loss": 2640,
  "take_profit": 2680.25,
  "confidence": 0.87,
  "risk_percent": 1.5,
  "strategy_name": "breakout-h1",
  "reason": "Close above the range",
  "timestamp": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "payload": {"timeframe": "H1", "indicators": {"rsi": 61.5}},
  "idempotency_key": "$(openssl rand -hex 16)"
}
JSON

# Signs and sends, and prints the HTTP status, or 000 if there was no answer. Each attempt has
# a new timestamp and so a new signature. --data-binary sends the file as it is: --data would
# take its line breaks out, and the signature would be wrong.
attempt() {
  timestamp=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  printf 'METHOD:POST\nENDPOINT:%s\nTIMESTAMP:%s\nPRODUCER_ID:%s\nBODY_SHA256:%s' \
    "$endpoint" "$timestamp" "$PRODUCER_ID" "$(sha256 < "$work/body.json")" > "$work/to-sign.txt"
  curl --silent --show-error --max-time 30 --output "$work/answer.json" --write-out '%{http_code}' \
    --data-binary "@$work/body.json" \
    --header 'content-type: application/json' \
    --header "x-producer-id: $PRODUCER_ID" \
    --header "x-timestamp: $timestamp" \
    --header "x-signature: $(hmac_sha256 "$work/to-sign.txt")" \
    "${OUTBOUND_SERVER_URL%/}$endpoint" || true
}

number=1
while :; do
  : > "$work/answer.json"
  status=$(attempt)
  case $status in
    200 | 201) # 201: stored now. 200: it had been stored by an attempt whose answer was lost.
      cat "$work/answer.json" && echo
      exit 0
      ;;
    000 | 429 | 500 | 502 | 503 | 504) # No answer, or a server that is busy or restarting.
      [ "$number" -lt "$attempts_max" ] || break
      echo "Attempt $number failed (HTTP $status), trying again." >&2
      sleep "$number"
      number=$((number + 1))
      ;;
    *) break ;; # The request is wrong, and would be refused again.
  esac
done
echo "The signal was not taken (HTTP $status): $(cat "$work/answer.json")" >&2
exit 1
