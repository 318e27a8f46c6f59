#!/usr/bin/env bash
# Shared by the scripts here: progress lines, cached folders, Debian packages, Node, tool versions.
# Sourced, never run. It sets paths and defines functions; it installs nothing by itself.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${WHIMBREL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whimbrel}
UI=$REPO/app/web/ui
export REPO CACHE UI
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# Rust's own folder, then what these scripts installed. Debian's node comes last on purpose: it is too old.
export PATH="$CACHE/node/bin:$CACHE/tools/bin:$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"

# One line per step, with the seconds since the script began, so that a log shows what took long.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# as_root CMD..: runs a command as root, by sudo if it asks no password. Fails if neither is possible.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; return; fi
  have sudo && sudo -n true 2>/dev/null && sudo -n "$@"
}

can_install() {
  have apt-get || return 1
  [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# apt_install PACKAGE..: all missing packages in one go.
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || say "apt-get update failed; trying with the lists that are here"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >"$CACHE/apt.log" 2>&1 ||
    { tail -n 20 "$CACHE/apt.log" >&2; die "apt-get could not install: $* (whole log: $CACHE/apt.log)"; }
}

# node_fits: is the `node` on the PATH new enough for the pinned Vite and its Svelte plugin?
# They say `^20.19 || ^22.12 || >=24`; setup.sh checks that app/web/ui still says the same of Vite.
node_fits() {
  have node && have npm || return 1
  local version major minor
  version=$(node --version) && version=${version#v}
  major=${version%%.*} minor=${version#*.} && minor=${minor%%.*}
  case $major in
    20) [ "$minor" -ge 19 ] ;;
    22) [ "$minor" -ge 12 ] ;;
    *) [ "$major" -ge 24 ] ;;
  esac
}

# test_features MORE: those of cargo_features and MORE, which nothing is built with unasked.
test_features() {
  local chosen
  chosen=$(cargo_features)
  printf -- '%s\n' "${chosen:---features=}${chosen:+,}$1"
}

# cargo_features: the features that need a Debian library or compiler, where those are.
cargo_features() {
  local chosen=()
  if have pkg-config && pkg-config --exists alsa; then chosen+=(whimbrel/audio-device); fi
  if builds_xdp; then chosen+=(whimbrel/xdp); fi
  [ ${#chosen[@]} -eq 0 ] || (IFS=, && printf -- '--features=%s\n' "${chosen[*]}")
}

# builds_xdp: whether the program that forwards streams in the kernel can be built.
builds_xdp() {
  [ "$(uname -s)" = Linux ] && have clang && have pkg-config && pkg-config --exists libbpf libelf zlib
}

# free_port PORT: stops where something listens there already.
free_port() {
  ! ss -Hlnut "sport = :$1" 2>/dev/null | grep -q . ||
    die "port $1 is taken: stop what listens there (ss -lnutp 'sport = :$1'), then try again"
}

# sources_hash PATH..: one hash over the names and contents of all files below, built output left out.
sources_hash() {
  find "$@" -type f -not -path '*/node_modules/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

mkdir -p "$CACHE"
