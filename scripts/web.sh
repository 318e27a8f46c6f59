#!/usr/bin/env bash
# Builds the console and the web phone into app/web/dist, when a source changed. `web.sh test` also runs their unit tests.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ -f "$UI/package.json" ] || die "there is no app/web/ui here"
node_fits || die "Node is missing or too old: run scripts/setup.sh run"
cd "$UI"

# What was installed and built last is remembered beside the packages, outside of what the server embeds.
installed=node_modules/.whimbrel-installed
built=node_modules/.whimbrel-built
tested=node_modules/.whimbrel-tested

lock=$(sha256sum package-lock.json | cut -d' ' -f1)-$(node --version)
if [ "$(cat $installed 2>/dev/null)" != "$lock" ]; then
  say "web: npm ci"
  npm ci --no-audit --no-fund --loglevel=error
  echo "$lock" >$installed
fi

sources=$(sources_hash . )-$lock
if [ "$(cat $built 2>/dev/null)" != "$sources" ] || [ ! -f ../dist/index.html ]; then
  say "web: npm run build"
  npm run --silent build
  [ -f ../dist/index.html ] || die "the build left no app/web/dist/index.html"
  echo "$sources" >$built
fi

if [ "${1:-}" = test ] && [ "$(cat $tested 2>/dev/null)" != "$sources" ]; then
  say "web: types and unit tests"
  npm run --silent check
  npm run --silent test
  echo "$sources" >$tested
fi
say "web: pages are up to date"
