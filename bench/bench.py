#!/usr/bin/env python3
"""Measures Whimbrel beside Kamailio: the same load, interleaved in one run, CPU time per operation.

Run by `make bench`. The server has core 0, the load generator core 1; CPU time is what
/proc/PID/task/*/schedstat counts for all threads of the server.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys

import rows
import servers


def main():
    options = arguments()
    run = pathlib.Path(options.run).resolve()
    run.mkdir(parents=True, exist_ok=True)
    chosen = choose(options)
    raise_file_limit()
    bench = Bench(run, options)
    with exclusive(options.lock):
        outcomes = {session.name: bench.session(session) for session in chosen}
    report(outcomes, run)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", required=True, help="the release build")
    parser.add_argument("--run", required=True, help="folder for data, logs and what is built")
    parser.add_argument("--rows", default="", help="sessions by prefix, with commas: reg,options,call")
    parser.add_argument("--order", default="WKW", help="W Whimbrel, K Kamailio, in this order")
    parser.add_argument("--ops", type=float, default=1, help="do so much of the load: 0.2")
    parser.add_argument("--lock", default="/run/lock/bench.lock", help="held while measuring")
    return parser.parse_args()


def choose(options):
    wanted = [w for w in options.rows.split(",") if w]
    known = rows.sessions(options.ops)
    for want in wanted:
        if not any(s.name.startswith(want) for s in known):
            raise SystemExit(f"error: no row '{want}'; there are {', '.join(s.name for s in known)}")
    return [s for s in known if not wanted or any(s.name.startswith(w) for w in wanted)]


def raise_file_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        most = 200_000 if os.geteuid() == 0 else most
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def exclusive(lock):
    """One measurement at a time on a machine, and before everything else that runs on it."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        group("-20")
        try:
            yield
        finally:
            group("0")


def group(nice):
    # With autogroups, plain nice means nothing between sessions.
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text(nice)


class Bench:
    """Runs sessions."""

    def __init__(self, run, options):
        self.run, self.order = run, options.order
        servers.certificate(run)
        self.generator = servers.load_generator(run)
        ours = lambda config: servers.Whimbrel(run, pathlib.Path(options.whimbrel).resolve(), config)
        self.ours = {False: ours("signalling.toml"), True: ours("default.toml")}
        self.direct = {}

    def session(self, session):
        """The values of each row, by server."""
        ours, theirs = self.ours[session.default], servers.Kamailio(self.run)
        found = {}
        for letter in self.order:
            server = ours if letter == "W" else theirs
            lines = self.once(session, server)
            for row in rows.ROWS:
                if row.session == session.name:
                    values = row.values(lines)
                    found.setdefault(row.title, {}).setdefault(server.name, []).extend(values)
        return found

    def once(self, session, server):
        """One start, one load, one stop: the lines sipload printed."""
        target = "127.0.0.1:5061" if session.tls else "127.0.0.1:5060"
        direct = self.without_server(session)
        server.prepare()
        print(f"# {session.name}: {server.name}, load {os.getloadavg()[0]:.1f}", flush=True)
        pids = server.start(session)
        try:
            if session.registered:
                self.register(session.registered)
            pids = ["-P", ",".join(map(str, pids))]
            lines = self.sipload(["-t", target, *pids, "-L", server.name, *session.load])
        finally:
            server.stop()
        for line in lines:
            line["direct"] = direct
            if int(line.get("fail", 0)) > int(line.get("ok", 1)) / 1000:
                print(f"# warning: {line['fail']} operations failed", flush=True)
        return lines

    def register(self, count):
        """The callees, at the port where sipload answers."""
        load = ["-m", "register", "-n", count, "-u", count, "-w", 128, "-c", 7000, "-L", "before"]
        self.sipload(["-t", "127.0.0.1:5060", *load])

    def without_server(self, session):
        """Set-up latency when the phones talk directly, measured once."""
        if session.name == "call-500" and not self.direct:
            load = ["-m", "call", "-u", 10000, "-w", 1024, "-r", 500, "-n", 2500, "-L", "direct"]
            line = self.sipload(["-t", "127.0.0.1:7000", *load])[0]
            self.direct = {k: float(v) for k, v in line.items() if k.endswith("_ms")}
        return self.direct

    def sipload(self, command):
        process = servers.pinned(
            servers.LOAD_CORE, [self.generator, *command], stdout=subprocess.PIPE, text=True
        )
        lines = []
        for text in process.stdout:
            print("  " + text, end="", flush=True)
            lines.append(dict(word.split("=", 1) for word in text.split() if "=" in word))
        if process.wait() != 0:
            raise SystemExit(f"error: the load generator ended with {process.returncode}")
        return lines


def report(outcomes, run):
    print(f"\n{'row':32} {'Whimbrel':>22} {'Kamailio':>22} {'ratio':>6}  must     verdict")
    missed, table = 0, []
    for row in rows.ROWS:
        found = outcomes.get(row.session, {}).get(row.title)
        if not found or not found.get("Whimbrel"):
            continue
        ours, theirs = found["Whimbrel"], found.get("Kamailio", [])
        mine, peer, ratio, word = rows.verdict(row, ours, theirs)
        missed += word == "MISSED"
        must = f"<= {row.must:g}" + ("" if row.is_ratio else f" {row.unit}")
        shown = f"{ratio:.2f}" if ratio is not None else "-"
        print(f"{row.title:32} {spread(ours, row)} {spread(theirs, row)} {shown:>6}  {must:8} {word}")
        row = dict(row=row.title, unit=row.unit, must=must, ratio=shown, verdict=word)
        table.append(dict(row, whimbrel=ours, kamailio=theirs))
    load = ", ".join(f"{l:.1f}" for l in os.getloadavg())
    print(f"\nmedian (min-max); machine load {load}; figures in {run / 'results.json'}")
    (run / "results.json").write_text(json.dumps(table, indent=1))
    (run / "table.md").write_text(markdown(table))
    print("everything measured is within its bound" if not missed else f"{missed} rows missed")


def markdown(table):
    """The same table, as docs/reference/performance.md has it."""
    lines = ["| row | Whimbrel | Kamailio | ratio | must be | |", "|---|---|---|---|---|---|"]
    for row in table:
        figures = [
            f"{statistics.median(v):.3g} ({min(v):.3g}-{max(v):.3g}) {row['unit']}" if v else "-"
            for v in (row["whimbrel"], row["kamailio"])
        ]
        cells = [row["row"], *figures, row["ratio"], row["must"], row["verdict"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values, row):
    if not values:
        return f"{'-':>22}"
    digits = 3 if row.unit == "ms" else 2 if max(values) < 100 else 0
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{f'{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f}) {row.unit}':>22}"


if __name__ == "__main__":
    sys.exit(main())
