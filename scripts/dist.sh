#!/usr/bin/env bash
# `make dist`: the server as it is meant to be installed. It is compiled twice: the second time for what a rehearsal of
# the first one ran (docs/design/0134-compiled-for-what-runs.md). Then BOLT lays its code out by another rehearsal: what
# runs together lies together (docs/design/0080-laid-out-by-a-rehearsal.md).
# The result is $CARGO_TARGET_DIR/dist/whimbrel. Half an hour on two cores; what did not change is not made again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the server that rehearses, one for the load"
[ "$(uname -m)" = x86_64 ] || die "BOLT 16 lays out x86-64 alone: use the release build of \`make run\`"
"$REPO/scripts/setup.sh" dist
"$REPO/scripts/web.sh"
# By their real folder: Debian's BOLT looks for its runtime beside itself.
BOLT=/usr/lib/llvm-16/bin
# Reads the profiles of Rust 1.95, whose LLVM is 22: their format is as old as LLVM 19.
PROFDATA=/usr/lib/llvm-19/bin/llvm-profdata
TRIPLE=x86_64-unknown-linux-gnu
DIST=$CARGO_TARGET_DIR/dist WORK=$CARGO_TARGET_DIR/dist/rehearsal
cd "$REPO"
features=$(cargo_features)
# compile FLAG OUT [ARG..]: for the target alone, so that build scripts are not instrumented.
compile() {
  local flag=$1 out=$2
  shift 2
  # shellcheck disable=SC2086
  RUSTFLAGS="$flag" cargo rustc --profile rehearsed --target "$TRIPLE" --locked -p whimbrel $features -- "$@"
  cp "$CARGO_TARGET_DIR/$TRIPLE/rehearsed/whimbrel" "$out"
}

rm -rf "$WORK" && mkdir -p "$WORK"
say "building a server that counts what it runs"
compile "-Cprofile-generate=$WORK/profile" "$WORK/profiling"
fresh() { sha256sum "$WORK/profiling" | cut -d' ' -f1; }
if [ -x "$DIST/whimbrel" ] && [ "$(cat "$DIST/made-of" 2>/dev/null)" = "$(fresh)" ]; then
  say "made already: $DIST/whimbrel"; rm -rf "$WORK"; exit
fi
for port in 5060 5061 7000 6000; do free_port "$port"; done

say "rehearsing: registrations, calls and connections, about a minute"
python3 "$REPO/bench/rehearse.py" --whimbrel "$WORK/profiling" --run "$CACHE/rehearsal"
"$PROFDATA" merge -o "$CACHE/rehearsal/profile" "$WORK"/profile/*.profraw ||
  die "the profile could not be read: $PROFDATA is older than what rustc writes"

say "building the server for what ran"
compile "-Cprofile-use=$CACHE/rehearsal/profile" "$WORK/release" -C link-arg=-Wl,--emit-relocs

say "rehearsing once more, for the layout"
"$BOLT/llvm-bolt" "$WORK/release" -o "$WORK/counting" -instrument -instrumentation-file="$WORK/counts" \
  -instrumentation-file-append-pid -instrumentation-sleep-time=2 >"$WORK/instrument.log" 2>&1 ||
  { tail -n 5 "$WORK/instrument.log" >&2; die "BOLT could not instrument the server: $WORK/instrument.log"; }
python3 "$REPO/bench/rehearse.py" --whimbrel "$WORK/counting" --run "$CACHE/rehearsal"
"$BOLT/merge-fdata" "$WORK"/counts.* >"$WORK/counts" 2>/dev/null

say "laying it out"
"$BOLT/llvm-bolt" "$WORK/release" -o "$WORK/whimbrel" -data="$WORK/counts" -reorder-blocks=ext-tsp \
  -reorder-functions=hfsort+ -split-functions -split-all-cold -split-eh -icf=1 >"$WORK/layout.log" 2>&1 ||
  { tail -n 5 "$WORK/layout.log" >&2; die "BOLT could not lay the server out: $WORK/layout.log"; }
"$WORK/whimbrel" --version >/dev/null || die "what BOLT made does not run: use the release build of \`make run\`"
mv "$WORK/whimbrel" "$DIST/whimbrel"
fresh >"$DIST/made-of"
rm -rf "$WORK"
say "done: $DIST/whimbrel ($(du -h "$DIST/whimbrel" | cut -f1))"
