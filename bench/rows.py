"""What is measured: each session is one start of a server and one load; its rows read the outcome."""

import dataclasses
import statistics


@dataclasses.dataclass
class Session:
    """One load against a freshly started server."""

    name: str
    #: Arguments of sipload.
    load: list
    #: Registered before, not counted: how many users.
    registered: int = 0
    #: Further definitions for Kamailio.
    kamailio: list = dataclasses.field(default_factory=list)
    tls: bool = False
    #: Like for like, or a fresh server's defaults.
    default: bool = False


@dataclasses.dataclass
class Row:
    """One line of the table."""

    title: str
    session: str
    unit: str
    #: From the parsed lines of one session: the values measured.
    values: object
    #: The most that Whimbrel may be: a ratio, or a figure in the row's unit.
    must: float
    aim: float
    #: Whether `must` and `aim` are ratios to Kamailio's median.
    is_ratio: bool = True


def cpu(*kinds):
    """CPU of the rounds of these kinds; the first round of all fills caches and does not count.

    `kinds` are letters, or whole rounds (`0c`). A round in which operations failed counts for
    nothing.
    """

    def counts(line):
        kind = line["round"][-1] in kinds and line["round"] != "0c" or line["round"] in kinds
        return kind and int(line["fail"]) <= int(line["ok"]) / 1000

    return lambda lines: [float(line["srv_us_op"]) for line in lines if "srv_us_op" in line and counts(line)]


def latency(field):
    """A latency less that of the same load without a server between."""
    return lambda lines: [
        float(line[field]) - line["direct"][field] for line in lines if field in line
    ]


def memory(count):
    """Kilobytes for each of `count`, after the wait where there is one."""

    def values(lines):
        before = int(lines[0]["pss_before_kB"])
        after = [line["pss_kB"] for line in lines if "pss_kB" in line]
        return [(int(after[-1] if after else lines[-1]["pss_after_kB"]) - before) / count]

    return values


def sessions(ops):
    """All of them; `ops` scales how much is done."""
    n = lambda count: ["-n", str(int(count * ops))]
    users = ["-u", "100000"]
    reg = ["-m", "register", *users, "-w", "256"]
    call = ["-m", "call", "-u", "10000"]
    tls = ["-m", "tls", *users, "-w", "64"]
    held = 20_000
    auth = ["WITH_INVITE_AUTH", "WITH_RECORDS", "WITH_RTPENGINE"]
    default = dict(registered=10_000, default=True, kamailio=auth)
    return [
        Session("register", [*reg, *n(100_000), "-R", "cccpp"]),
        Session("options", ["-m", "options", *users, "-w", "256", *n(300_000), "-R", "cccc"]),
        Session("call", [*call, "-w", "256", *n(50_000), "-R", "ccc"], registered=10_000),
        Session("call-500", [*call, "-w", "1024", "-r", "500", *n(5_000), "-R", "cc"], 10_000),
        Session("tls", [*tls, *n(5_000), "-R", "ccc"], kamailio=["WITH_TLS"], tls=True),
        # 35 s: longer than any transaction is kept (Timer J, 32 s).
        Session("memory-binding", [*reg, "-n", "100000", "-R", "c", "-H", "35"]),
        Session(
            "memory-tls",
            [*tls, "-n", "5000", "-R", "k", "-H", "5"],
            kamailio=["WITH_TLS"],
            tls=True,
        ),
        # Finished calls stay in the transaction layer for 32 s; Kamailio is told to keep them too.
        Session(
            "memory-call",
            [*call, "-w", "256", "-n", str(held), "-R", "c"],
            registered=10_000,
            kamailio=["WT=60000"],
        ),
        Session("default-call", [*call, "-w", "256", *n(20_000), "-R", "ccc"], **default),
        Session("default-call-500", [*call, "-w", "1024", "-r", "500", *n(5_000), "-R", "cc"], **default),
    ]


ROWS = [
    Row("REGISTER with challenge", "register", "us", cpu("c"), 0.40, 0.28),
    Row("REGISTER with a known nonce", "register", "us", cpu("p"), 0.40, 0.28),
    Row("stateless OPTIONS reply", "options", "us", cpu("c"), 0.48, 0.38),
    Row("proxied call, saturated", "call", "us", cpu("c", "0c"), 0.40, 0.25),
    Row("proxied call at 500/s", "call-500", "us", cpu("c"), 0.50, 0.35),
    Row("added latency p50 at 500/s", "call-500", "ms", latency("setup_p50_ms"), 1.0, 0.5),
    Row("added latency p99 at 500/s", "call-500", "ms", latency("setup_p99_ms"), 1.0, 0.5),
    Row("TLS 1.3 connect + REGISTER", "tls", "us", cpu("c"), 0.65, 0.50),
    Row("memory per binding", "memory-binding", "kB", memory(100_000), 0.6, 0.4, False),
    Row("memory per idle TLS flow", "memory-tls", "kB", memory(5_000), 16, 10, False),
    Row("memory per call held", "memory-call", "kB", memory(20_000), 8, 4, False),
    Row("real default: call, saturated", "default-call", "us", cpu("c"), 0.40, 0.25),
    Row("real default: call at 500/s", "default-call-500", "us", cpu("c"), 0.50, 0.35),
]


def verdict(row, ours, theirs):
    """The medians, the figure that is judged, and the word for it."""
    mine, peer = statistics.median(ours), statistics.median(theirs) if theirs else None
    ratio = mine / peer if peer else None
    judged = ratio if row.is_ratio else mine
    if judged is None:
        return mine, peer, ratio, "no peer"
    word = "aimed at" if judged <= row.aim else "reached" if judged <= row.must else "MISSED"
    return mine, peer, ratio, word
