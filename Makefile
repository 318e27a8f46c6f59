# Two commands matter: `make run` and `make test`. Each line below is a script of a screen or less.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/whimbrel/target
export DATA ARGS ROWS ORDER OPS CASES SEED

.PHONY: help run test test-long check web sim screenshot dist bench bench-media fuzz-smoke properties clean

help:              ## Shows this list.
	@sed -n 's/^\([a-z-]*\): *## /  make \1\t/p' Makefile | expand -t 22

run:               ## Prepares, builds and starts the server. DATA=FOLDER ARGS="--listen-ip 127.0.0.1"
	@scripts/run.sh

test:              ## Prepares what the tests need and runs everything.
	@scripts/test.sh

test-long:         ## Runs the stories that wait for minutes, and nothing else.
	@scripts/test.sh long

check:             ## Format, clippy, layers, tidy, documents. Under a minute warm.
	@scripts/check.sh

web:               ## Builds the console and the web phone when they changed.
	@scripts/setup.sh run && scripts/web.sh

sim:               ## Runs the stories of the simulated network under SEEDS=100 seeds.
	@scripts/sim.sh

screenshot:        ## Makes docs/images/console.png: a true picture of the console during calls.
	@scripts/setup.sh test && scripts/web.sh && tests/browser/screenshot.sh

dist:              ## Builds the server to install: release, its code laid out by a rehearsal. Needs Debian 12 and two cores.
	@scripts/dist.sh

bench:             ## Measures Whimbrel beside Kamailio. ROWS=register,options ORDER=WKW OPS=1. Needs Debian and two cores.
	@scripts/bench.sh

bench-media:       ## Measures media beside rtpengine and coturn. ORDER=WRWR ONLY=turn. Needs Debian, two cores and root.
	@scripts/bench-media.sh

properties:        ## Runs every property test on CASES=50000 random cases, new ones each time. SEED=N repeats a run.
	@scripts/properties.sh

fuzz-smoke:        ## Runs each fuzz target for SECONDS_EACH=20 seconds. Needs nightly Rust and cargo-fuzz.
	@scripts/fuzz_smoke.sh

clean:             ## Removes what was built, and nothing else.
	@cargo clean
