"""Rows of `make bench-media` beside plain and encrypted streams: sound that is transcoded, and TURN beside coturn."""

import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
#: Calls at once, the most Whimbrel may be, what it aims at.
OPUS = ("Opus to PCMU, CPU ms a call-second", 30, 0.8, 0.6)
OPUS_MEMORY = "memory per transcoded call"
#: Allocations for packets and for memory.
TURN = 500
ALLOCATIONS = 10_000
TURN_ROWS = [("TURN ChannelData, 500 allocations", "us", 0.60, 0.45),
             ("TURN allocation with its challenge", "us", 0.5, 0.25),
             ("memory per TURN allocation", "kB", 0.5, 0.25)]
TURN_PORT = "3478"


def measure_opus(options, run, relay, calls):
    """Two rows: CPU time of a transcoded call's second, and its memory."""
    frames = read_frames(run)
    figures, memory = {"W": [], "R": []}, {"W": [], "R": []}
    for turn, which in enumerate(options.order):
        with relay(options, run, which) as server:
            # The first call makes room in tables and pools.
            talk(server, frames, 1, f"first{turn}", 1)
            before = server.resident_kb()
            cpu_ms, heard = talk(server, frames, calls, f"counted{turn}", options.seconds)
            if heard < 0.99:
                print(f"  not counted: {which} let {heard:.2f} of the packets through")
                continue
            figures[which].append((cpu_ms, 0, 0))
            memory[which].append(((server.resident_kb() - before) / calls, 0, 0))
    title, _, must, aim = OPUS
    return [(title, "ms", figures, must, aim, True), (OPUS_MEMORY, "kB", memory, 1.0, 0.5, True)]


def read_frames(run):
    program = run / "frames"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "frames.c", "-lopus", "-lm"], check=True)
    subprocess.run([program, run], check=True)
    frames = {}
    for codec in ("opus", "pcmu"):
        data, frames[codec] = (run / f"{codec}.frames").read_bytes(), []
        while data:
            (length,) = struct.unpack_from("H", data)
            frames[codec].append(data[2:2 + length])
            data = data[2 + length:]
    return frames


def describe(port, formats, lines):
    return (f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {formats}\r\n{lines}a=ptime:20\r\na=sendrecv\r\n")


def talk(server, frames, calls, label, seconds):
    """CPU milliseconds for a second of a call, and the share of packets that came through."""
    opus = describe(5000, "96", "a=rtpmap:96 opus/48000/2\r\n")
    pcmu = describe(5001, "0", "a=rtpmap:0 PCMU/8000\r\n")
    wish = {"codec": {"mask": ["opus"], "transcode": ["PCMU"]}}
    toward = []
    for n in range(calls):
        call = {"call_id": f"{label}-{n}", "from_tag": "a"}
        offered = server.ng.sdp(command="offer", sdp=opus, **wish, **call)
        answered = server.ng.sdp(command="answer", to_tag="b", sdp=pcmu, **call)
        port = [int(re.search(r"m=audio (\d+)", text)[1]) for text in (answered, offered)]
        toward.append([("127.0.0.1", p) for p in port])
    sockets = [udp(5000), udp(5001)]
    try:
        return pace(server.pid, frames, toward, sockets, seconds)
    finally:
        for one in sockets:
            one.close()


def udp(port):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    one.bind(("127.0.0.1", port))
    one.setblocking(False)
    return one


def pace(pid, frames, toward, sockets, seconds):
    warm, sides = 50, (("opus", 96, 960), ("pcmu", 0, 160))
    start, before, sent, heard = time.monotonic(), 0, 0, 0
    ticks = warm + int(seconds * 50)
    for tick in range(ticks + 10):
        if tick == warm:
            before, sent, heard = cpu_ns(pid), 0, 0
        if tick == ticks:
            after = cpu_ns(pid)
        for call, ports in enumerate(toward):
            if tick >= ticks:
                break
            # Spread over the twenty milliseconds, as phones are.
            due = start + (tick + call / len(toward)) * 0.02
            while (wait := due - time.monotonic()) > 0:
                heard += drain(sockets)
                time.sleep(min(wait, 0.001))
            for side, (codec, payload_type, step) in enumerate(sides):
                header = struct.pack("!BBHII", 0x80, payload_type, tick + 1, (tick + 1) * step & 0xffffffff, 2 * call + side + 1)
                sockets[side].sendto(header + frames[codec][tick % len(frames[codec])], ports[side])
                sent += 1
        time.sleep(0 if tick < ticks else 0.02)
        heard += drain(sockets)
    return (after - before) / 1e6 / len(toward) / seconds, heard / sent


def drain(sockets):
    """How many packets came in the codec of the side that they came to."""
    heard = 0
    for one, payload_type in zip(sockets, (96, 0)):
        try:
            while packet := one.recv(2048):
                heard += packet[1] & 0x7F == payload_type
        except BlockingIOError:
            pass
    return heard


def cpu_ns(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def measure_turn(options, run, allocations, packets):
    """Three rows: a packet, an allocation, and the memory of one."""
    load = run / "turnload"
    subprocess.run(["cc", "-O2", "-o", load, HERE / "turnload.c", "-lcrypto"], check=True)
    figures = [{"W": [], "R": []} for _ in TURN_ROWS]
    for which in options.order:
        many = turn_once(options, run, load, which, allocations, 0)
        some = turn_once(options, run, load, which, packets, 50)
        if many["allocated"] == allocations:
            figures[1][which].append((many["cpu_us_allocation"], 0, 0))
            figures[2][which].append((many["kb_allocation"], 0, 0))
        else:
            print(f"  not counted: {which} {many}")
        if some["ready"] == packets and not some["bad"] and some["received"] >= some["sent"] * 0.999:
            figures[0][which].append((some["cpu_us_packet"], some["p50_us"], some["p99_us"]))
        else:
            print(f"  not counted: {which} {some}")
    return [(title, unit, counted, must, aim, True)
            for (title, unit, must, aim), counted in zip(TURN_ROWS, figures)]


def turn_once(options, run, load, which, allocations, rate):
    command = {
        "W": [options.whimbrel, "turn", "--listen", f"127.0.0.1:{TURN_PORT}", "--relay-ip", "127.0.0.1", "--threads", "1",
              "--relay-ports", "10000-60000", "--realm", "bench.test", "--user", "u:p", "--allow-peer", "127.0.0.0/8",
              "--allocations", str(2 * allocations), "--per-user", str(2 * allocations)],
        "R": ["turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--no-tcp-relay", "-m", "1",
              "--listening-ip=127.0.0.1", f"--listening-port={TURN_PORT}", "--relay-ip=127.0.0.1", "--allow-loopback-peers",
              "--lt-cred-mech", "--user=u:p", "--realm=bench.test", "--min-port=10000", "--max-port=60000",
              f"--pidfile={run}/turn.pid", "--log-file=/dev/null", "--simple-log", "--no-stdout-log"],
    }[which]
    first = ["chrt", "-f", "10"] if os.geteuid() == 0 else []
    with open(run / f"turn-{which}.log", "w") as log:
        server = subprocess.Popen(["taskset", "-c", "0", *first, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        time.sleep(1.5)
        arguments = [TURN_PORT, str(server.pid), str(allocations), str(rate), "1", str(options.seconds)]
        outcome = subprocess.run(["taskset", "-c", "1", *first, load, *arguments], check=True, capture_output=True)
        return json.loads(outcome.stdout)
    finally:
        server.terminate()
        server.wait()
