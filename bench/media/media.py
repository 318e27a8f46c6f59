#!/usr/bin/env python3
"""Measures Whimbrel's relay beside rtpengine, and its TURN server beside coturn: the same load, interleaved in one run.

Run by `make bench-media`. The relay has core 0, the load core 1, both before everything else that runs.
"""

import argparse
import base64
import ctypes
import fcntl
import json
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import time

import more

HERE = pathlib.Path(__file__).resolve().parent
NG = ("127.0.0.1", 2223)
SUITES = {"cm": ("AES_CM_128_HMAC_SHA1_80", 30), "gcm": ("AEAD_AES_128_GCM", 28)}
#: Title, keying of the callee's side, streams, the most Whimbrel may be, what it aims at: ratios.
ROWS = [
    ("plain RTP, 1000 streams", None, 1000, 0.50, 0.38),
    ("plain RTP, 500 streams", None, 500, 0.45, 0.35),
    ("RTP to SRTP, AES-CM-128 HMAC-SHA1-80", "cm", 1000, 0.48, 0.38),
    ("RTP to SRTP, AES-GCM-128", "gcm", 1000, 0.48, 0.38),
]
#: Through the kernel (XDP) on a veth, beside rtpengine's plain row on loopback. Root's alone.
KERNEL = ("plain RTP through XDP, 1000 streams", 1000, 0.35, 0.28)
#: The same for kilobytes of a call.
MEMORY = [("memory per plain call", None, 12, 6), ("memory per SRTP call", "cm", 12, 6)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", required=True, help="the release build")
    parser.add_argument("--run", required=True, help="folder for logs and what is built")
    parser.add_argument("--order", default="WRWR", help="W Whimbrel, R rtpengine, in this order")
    parser.add_argument("--rest", default="400", help="microseconds a busy thread of Whimbrel rests")
    parser.add_argument("--no-kernel", dest="kernel", action="store_false", help="leave the row of XDP out")
    parser.add_argument("--only", choices=["streams", "opus", "turn"], help="a part of the rows")
    parser.add_argument("--calls", type=int, default=more.OPUS[1], help="transcoded calls at once")
    parser.add_argument("--allocations", type=int, default=more.ALLOCATIONS, help="of TURN, for their cost")
    parser.add_argument("--channels", type=int, default=more.TURN, help="of TURN, for packets")
    parser.add_argument("--seconds", type=float, default=3, help="how long each load is counted")
    parser.add_argument("--lock", default="/run/lock/bench.lock", help="held while measuring")
    options = parser.parse_args()
    run = pathlib.Path(options.run).resolve()
    run.mkdir(parents=True, exist_ok=True)
    load = run / "mediaload"
    subprocess.run(["cc", "-O2", "-o", load, HERE / "mediaload.c", "-lsrtp2"], check=True)
    with open(options.lock, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = []
        if options.only in (None, "streams"):
            table += [measure(options, run, load, row) for row in ROWS]
            if os.geteuid() == 0 and options.kernel:
                table.insert(2, measure_kernel(options, run, load, table[0]))
            table += [measure_memory(options, run, load, row) for row in MEMORY]
        if options.only in (None, "opus"):
            table += more.measure_opus(options, run, Relay, options.calls)
        if options.only in (None, "turn"):
            table += more.measure_turn(options, run, options.allocations, options.channels)
    report(table)


class Relay:
    """One relay on core 0 while the block lasts."""

    def __init__(self, options, run, which, cable=None):
        rtp = ("10000", "60000")
        self.cable = cable
        self.command = {
            "W": [options.whimbrel, "relay", "--ng", "%s:%d" % NG, "--listen-ip", NG[0], "--threads", "1",
                  "--rtp-ports", "-".join(rtp), "--rest", options.rest, "--silence", "3600", "--delete-delay", "0"],
            "R": ["rtpengine", "--table=-1", f"--interface={NG[0]}", "--listen-ng=%s:%d" % NG, "--num-threads=1",
                  f"--port-min={rtp[0]}", f"--port-max={rtp[1]}", "--foreground", "--log-stderr", "--log-level=3",
                  "--timeout=600", "--silent-timeout=3600", "--delete-delay=0", "--no-fallback"],
        }[which]
        if cable:
            at = self.command.index("--listen-ip") + 1
            self.command[at] = cable.RELAY
            self.command = ["ip", "netns", "exec", cable.rooms[1], *self.command, "--fast-path", "rl"]
        self.log = run / f"relay-{which}.log"

    def __enter__(self):
        first = ["chrt", "-f", "10"] if os.geteuid() == 0 else []
        with open(self.log, "w") as log:
            command = ["taskset", "-c", "0", *first, *self.command]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.ng = self.cable.inside(1, Controller) if self.cable else Controller()
        for _ in range(100):
            if self.ng.ping():
                return self
            time.sleep(0.1)
        raise SystemExit(f"error: {self.command[0]} does not answer; see {self.log}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def resident_kb(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


class Controller:
    """Speaks NG over UDP."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.connect(NG)
        self.count = 0

    def ping(self):
        try:
            return self.ask(command="ping")["result"] == b"pong"
        except OSError:
            return False

    def ask(self, **message):
        self.count += 1
        cookie = b"%d_%d " % (os.getpid(), self.count)
        self.socket.send(cookie + encode({k.replace("_", "-"): v for k, v in message.items()}))
        while not (reply := self.socket.recv(65535)).startswith(cookie):
            pass
        return decode(reply[len(cookie):])[0]

    def sdp(self, **message):
        reply = self.ask(ICE="remove", replace=["origin", "session-connection"], **message)
        if reply["result"] != b"ok":
            raise SystemExit(f"error: {reply}")
        return reply["sdp"].decode()


def encode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(encode(k) + encode(value[k]) for k in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"%d:%s" % (len(value.encode()), value.encode())


def decode(data):
    kind, rest = data[:1], data[1:]
    if kind == b"i":
        number, rest = rest.split(b"e", 1)
        return int(number), rest
    if kind in b"ld":
        items = []
        while not rest.startswith(b"e"):
            item, rest = decode(rest)
            items.append(item)
        if kind == b"d":
            items = {k.decode(): v for k, v in zip(items[::2], items[1::2])}
        return items, rest[1:]
    length, rest = data.split(b":", 1)
    return rest[: int(length)], rest[int(length):]


def sdp(port, transport, key="", ip=NG[0]):
    return (f"v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
            f"m=audio {port} {transport} 0\r\n{key}a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n")


def legs(ng, keying, streams, label, ip=NG[0]):
    """Sets calls up; the lines that mediaload reads."""
    for n in range(streams // 2):
        call = {"call_id": f"{label}-{n}", "from_tag": "a"}
        offer, answer, line, send, receive = {}, {}, "", "-", "-"
        if keying:
            offer, answer = {"transport_protocol": "RTP/SAVP", "DTLS": "off"}, {"transport_protocol": "RTP/AVP"}
        offered = ng.sdp(command="offer", sdp=sdp(5000, "RTP/AVP", ip=ip), **call, **offer)
        if keying:
            suite, length = SUITES[keying]
            tag, theirs = re.search(rf"a=crypto:(\d+) {suite} inline:([^\s|]+)", offered).groups()
            own = os.urandom(length)
            line = f"a=crypto:{tag} {suite} inline:{base64.b64encode(own).decode()}\r\n"
            send, receive = f"{keying}:{own.hex()}", f"{keying}:{base64.b64decode(theirs + '==').hex()}"
        transport = "RTP/SAVP" if keying else "RTP/AVP"
        answered = ng.sdp(command="answer", to_tag="b", sdp=sdp(5001, transport, line, ip), **call, **answer)
        port = lambda text: re.search(r"m=audio (\d+)", text)[1]
        yield f"{port(answered)} - -\n{port(offered)} {send} {receive}\n"


def stream(options, run, load, relay, lines, rate, seconds):
    (run / "legs").write_text(lines)
    first = ["chrt", "-f", "10"] if os.geteuid() == 0 else []
    pids, warm, addresses, inside = str(relay.pid), "1", [], []
    if cable := relay.cable:
        # What the kernel forwards costs the thread that serves the interface; streams are its own after a second.
        pids, warm, addresses = ",".join([pids, *cable.threads(1)]), "2.5", [cable.RELAY, cable.LOAD]
        inside = ["ip", "netns", "exec", cable.rooms[0]]
    command = [*inside, "taskset", "-c", "1", *first, load, run / "legs", pids, str(rate), warm, str(seconds), *addresses]
    outcome = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if outcome["bad"] or outcome["received"] < outcome["sent"] * 0.999:
        print(f"  not counted: {outcome}", file=sys.stderr)
        return None
    return outcome


def measure(options, run, load, row):
    title, keying, streams, must, aim = row
    figures = {"W": [], "R": []}
    for turn, which in enumerate(options.order):
        with Relay(options, run, which) as relay:
            lines = "".join(legs(relay.ng, keying, streams, f"t{turn}"))
            if outcome := stream(options, run, load, relay, lines, 50, options.seconds):
                figures[which].append((outcome["cpu_us_packet"], outcome["p50_us"], outcome["p99_us"]))
    return title, "us", figures, must, aim, True


class Cable:
    """A veth between a namespace for the load and one for the relay, each end served by a thread of its own."""

    LOAD, RELAY = "10.79.0.1", "10.79.0.2"

    def __init__(self, run):
        self.program = run / "pass.bpf.o"
        headers = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        command = ["clang", "-O2", "-target", "bpf", headers, "-c", HERE / "pass.bpf.c", "-o", self.program]
        subprocess.run(command, check=True)
        self.rooms = [f"wbm-{os.getpid()}-{end}" for end in ("load", "relay")]

    def __enter__(self):
        for room in self.rooms:
            ip("netns", "add", room)
        ip("link", "add", "ld", "netns", self.rooms[0], "type", "veth", "peer", "name", "rl", "netns", self.rooms[1])
        for room, device, address in zip(self.rooms, ("ld", "rl"), (self.LOAD, self.RELAY)):
            ip("-n", room, "addr", "add", f"{address}/24", "dev", device)
            for name in ("lo", device):
                ip("-n", room, "link", "set", name, "up")
        ip("-n", self.rooms[0], "link", "set", "dev", "ld", "xdpdrv", "obj", self.program, "sec", "xdp")
        for end, device in enumerate(("ld", "rl")):
            self.inside(end, lambda: serve_by_napi(device))
            command = ["ip", "netns", "exec", self.rooms[end], "sh", "-c", f"echo 1 >/sys/class/net/{device}/threaded"]
            subprocess.run(command, check=True)
            for thread in self.threads(end):
                subprocess.run(["taskset", "-pc", str(1 - end), thread], check=True, stdout=subprocess.DEVNULL)
                subprocess.run(["chrt", "-f", "-p", "12", thread], check=True)
        return self

    def __exit__(self, *_):
        for room in self.rooms:
            ip("netns", "del", room)

    def threads(self, end):
        """The kernel's threads of one end."""
        name = "napi/" + ("ld", "rl")[end]
        listed = subprocess.run(["ps", "-eo", "pid=,comm="], check=True, capture_output=True, text=True).stdout
        return [line.split()[0] for line in listed.splitlines() if line.split()[1].startswith(name)]

    def inside(self, end, make):
        """What `make` makes in the namespace of one end."""
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/self/ns/net") as home, open(f"/var/run/netns/{self.rooms[end]}") as room:
            if setns(room.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return make()
            finally:
                setns(home.fileno(), 0)


def serve_by_napi(device):
    """Turns generic receive offload on: with it a veth takes packets as a network card does (NAPI)."""
    siocethtool, ethtool_sgro = 0x8946, 0x2C
    value = struct.pack("II", ethtool_sgro, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        buffer = ctypes.create_string_buffer(value)
        fcntl.ioctl(any_socket, siocethtool, struct.pack("16sP", device.encode(), ctypes.addressof(buffer)))


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def measure_kernel(options, run, load, plain):
    title, streams, must, aim = KERNEL
    figures = {"W": [], "R": plain[2]["R"]}
    for turn in range(max(1, options.order.count("W"))):
        with Cable(run) as cable, Relay(options, run, "W", cable) as relay:
            lines = "".join(legs(relay.ng, None, streams, f"x{turn}", cable.LOAD))
            if outcome := stream(options, run, load, relay, lines, 50, options.seconds):
                figures["W"].append((outcome["cpu_us_packet"], outcome["p50_us"], outcome["p99_us"]))
    return title, "us", figures, must, aim, True


def measure_memory(options, run, load, row):
    title, keying, must, aim = row
    figures, calls = {"W": [], "R": []}, 1000
    for which in options.order[:2]:
        with Relay(options, run, which) as relay:
            # The first calls make room in tables and pools.
            for label, count in (("first", 200), ("counted", calls)):
                before = relay.resident_kb()
                lines = "".join(legs(relay.ng, keying, 2 * count, label))
                stream(options, run, load, relay, lines, 5, 1)
            figures[which].append(((relay.resident_kb() - before) / calls, 0, 0))
    return title, "kB", figures, must, aim, False


def report(table):
    print(f"\n{'':40}{'Whimbrel':>10}{'peer':>11}{'ratio':>8}{'must':>7}{'aim':>6}   added delay p50/p99, us")
    for title, unit, figures, must, aim, is_ratio in table:
        ours, theirs = ([f[0] for f in figures[w]] for w in "WR")
        if not ours or not theirs:
            print(f"{title:40}  no figure")
            continue
        a, b = statistics.median(ours), statistics.median(theirs)
        value = a / b if is_ratio else a
        word = "" if value <= must else "  missed"
        delay = lambda w: "/".join(f"{statistics.median(f[i] for f in figures[w]):.0f}" for i in (1, 2))
        has_delay = is_ratio and any(f[1] for f in figures["W"])
        delays = f"   {delay('W')} beside {delay('R')}" if has_delay else ""
        print(f"{title:40}{a:>7.2f} {unit}{b:>8.2f} {unit}{a / b:>8.2f}{must:>7}{aim:>6}{delays}{word}")


if __name__ == "__main__":
    main()
