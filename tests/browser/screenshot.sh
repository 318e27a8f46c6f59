#!/usr/bin/env bash
# Photographs the console with calls under way, for the README: tests/browser/screenshot.sh [OUTPUT.png]
# Starts a server on loopback with an empty data folder, and Chromium with three web phones; ends both.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
output=$(realpath -m "${1:-$repo/docs/images/console.png}")
target=${CARGO_TARGET_DIR:-$repo/target}
whimbrel=${WHIMBREL_BIN:-$target/debug/whimbrel}
port=${PORT:-11700}
domain=example.org

[ -x "$whimbrel" ] || { echo "no $whimbrel: cargo build -p whimbrel first, or set WHIMBREL_BIN" >&2; exit 1; }
[ -d "$here/node_modules" ] || (cd "$here" && npm ci --no-audit --no-fund --loglevel=error)

scratch=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$scratch"
}
trap finish EXIT

cat >"$scratch/whimbrel.toml" <<TOML
domain = "$domain"
[ports]
sip = $port
sips = $((port + 1))
https = $((port + 2))
rtp_min = $((port + 10))
rtp_max = $((port + 90))
metrics = "127.0.0.1:$((port + 3))"
TOML
export XDG_RUNTIME_DIR=$scratch
"$whimbrel" serve --data "$scratch/data" --config "$scratch/whimbrel.toml" --listen-ip 127.0.0.1 \
  >"$scratch/server.log" 2>&1 &
server=$!
for _ in $(seq 150); do
  curl --silent --fail --output /dev/null "http://127.0.0.1:$((port + 3))/health/ready" && break
  kill -0 "$server" 2>/dev/null || { cat "$scratch/server.log" >&2; exit 1; }
  sleep 0.2
done

accounts=()
for user in ada grace hedy; do
  openssl rand -hex 12 >"$scratch/$user"
  "$whimbrel" --data "$scratch/data" user add "$user@$domain" --password-file "$scratch/$user" >/dev/null
  accounts+=("$user@$domain" "$(cat "$scratch/$user")")
done
link=$("$whimbrel" --data "$scratch/data" admin link)

mkdir -p "$(dirname "$output")"
HOME=$scratch node "$here/screenshot.mjs" "https://127.0.0.1:$((port + 2))" "$link" "$output" "${accounts[@]}"
