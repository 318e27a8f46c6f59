#!/usr/bin/env python3
"""Plays the loads of the bench, shortened, to a server that counts which of its code they take.

Run by scripts/dist.sh with an instrumented build; each server started writes its counts by itself.
"""

import argparse
import pathlib
import subprocess

import servers

USERS = ["-u", "10000"]
#: By configuration: what is played to it, after its phones have registered.
LOADS = {
    "signalling.toml": [
        ["-m", "register", "-u", "20000", "-w", "256", "-n", "20000", "-R", "cp"],
        ["-m", "options", "-w", "256", "-n", "20000"],
        ["-m", "call", *USERS, "-w", "256", "-n", "4000"],
        # Woken for each message: this is where the layout counts.
        ["-m", "call", *USERS, "-w", "1024", "-r", "500", "-n", "2500"],
        ["-m", "tls", *USERS, "-w", "16", "-n", "500"],
    ],
    "default.toml": [
        ["-m", "call", *USERS, "-w", "64", "-n", "1000"],
        ["-m", "call", *USERS, "-w", "1024", "-r", "100", "-n", "600"],
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", required=True, help="the instrumented build")
    parser.add_argument("--run", required=True, help="folder for data and logs")
    options = parser.parse_args()
    run = pathlib.Path(options.run).resolve()
    run.mkdir(parents=True, exist_ok=True)
    servers.certificate(run)
    generator = servers.load_generator(run)
    for config, loads in LOADS.items():
        server = servers.Whimbrel(run, pathlib.Path(options.whimbrel).resolve(), config)
        server.prepare()
        server.start(None)
        try:
            phones = ["-m", "register", *USERS, "-w", "64", "-n", "10000", "-c", "7000"]
            for load in [phones, *loads]:
                play(generator, load)
        finally:
            server.stop()


def play(generator, load):
    """One load; most of it must succeed, or the rehearsal was of failures."""
    target = "127.0.0.1:5061" if "tls" in load else "127.0.0.1:5060"
    command = ["taskset", "-c", servers.LOAD_CORE, generator, "-t", target, "-T", "120", *load]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    words = dict(word.split("=", 1) for word in output.splitlines()[-1].split() if "=" in word)
    print(f"# {' '.join(load)}: {words['ok']} of {words['ops']}", flush=True)
    if int(words["ok"]) < int(words["ops"]) * 0.9:
        raise SystemExit(f"error: the rehearsal failed: {output}")


if __name__ == "__main__":
    main()
