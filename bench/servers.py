"""Starting and stopping what is measured: Whimbrel, Kamailio, rtpengine. Each on one core."""

import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = "0", "1"
DOMAIN, USERS, FIRST = "bench.test", 100_000, 1_000_000


def pinned(core, command, **options):
    """A process on one core, with the highest priority this user may give."""
    nice = ["nice", "-n", "-20"] if os.geteuid() == 0 else []
    return subprocess.Popen([*nice, "taskset", "-c", core, *map(str, command)], **options)


def certificate(run):
    """One P-256 certificate for both servers."""
    if (run / "cert.pem").exists():
        return
    subject = ["-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(run / "key.pem"), "-out", str(run / "cert.pem"), "-days", "365"]
    command = ["openssl", "req", "-x509", *curve, *files, *subject]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def load_generator(run):
    """Compiles sipload when its sources are newer."""
    built, sources = run / "sipload", sorted((HERE / "load").iterdir())
    if not built.exists() or built.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        source = HERE / "load" / "sipload.c"
        subprocess.run(["cc", "-O2", "-o", built, source, "-lssl", "-lcrypto"], check=True)
    return built


class Whimbrel:
    """A release build with 100,000 accounts, which came in by `user import`."""

    name = "Whimbrel"

    def __init__(self, run, binary, config):
        self.run, self.binary, self.config = run, binary, HERE / config

    def prepare(self):
        """The accounts, imported once and copied for every start."""
        clean = self.run / "accounts"
        if (clean / "imported").exists():
            return
        shutil.rmtree(clean, ignore_errors=True)
        users = self.run / "users.csv"
        numbers = range(FIRST, FIRST + USERS)
        lines = [f"u{n}@{DOMAIN},p{n}\n" for n in numbers]
        users.write_text("user,password\n" + "".join(lines))
        for verb in (["tenant", "add", DOMAIN], ["user", "import", users]):
            began = time.monotonic()
            subprocess.run([self.binary, "--data", clean, *verb], check=True)
            print(f"# whimbrel {verb[0]} {verb[1]}: {time.monotonic() - began:.1f} s", flush=True)
        (clean / "imported").write_text("")

    def start(self, session):
        data = self.run / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self.run / "accounts", data)
        log = open(self.run / "whimbrel.log", "w")
        command = [self.binary, "--data", data, "serve", "--config", self.config]
        self.process = pinned(SERVER_CORE, command, cwd=self.run, stdout=log, stderr=log)
        wait_until(whimbrel_is_ready, self.process, self.run / "whimbrel.log")
        # Whatever it does at start (the certificate, the first snapshot) is over.
        time.sleep(1)
        return [self.process.pid]

    def stop(self):
        end(self.process)


class Kamailio:
    """Debian's Kamailio, tuned, in-memory: bench/kamailio.cfg.in."""

    name = "Kamailio"

    def __init__(self, run):
        self.run, self.relay = run, None

    def prepare(self):
        run = str(self.run)
        config = (HERE / "kamailio.cfg.in").read_text().replace("@RUN@", run)
        (self.run / "kamailio.cfg").write_text(config)
        tls = "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n"
        tls += f"require_certificate = no\nprivate_key = {run}/key.pem\ncertificate = {run}/cert.pem\n"
        (self.run / "tls.cfg").write_text(tls)

    def start(self, session):
        pids = []
        if "WITH_RTPENGINE" in session.kamailio:
            pids.append(self.start_rtpengine())
        if "WITH_RECORDS" in session.kamailio:
            self.empty_records()
        defines = [f"NUSERS={USERS}", "UDPW=2", *session.kamailio]
        defines = [word for define in defines for word in ("-A", define)]
        pools = ["-m", "6144", "-M", "32", "-x", "fm", "-X", "fm", "-b", "4194304"]
        control = self.run / "ctl.sock"
        control.unlink(missing_ok=True)
        command = ["kamailio", "-f", self.run / "kamailio.cfg", "-DD", "-E", *pools]
        log = open(self.run / "kamailio.log", "w")
        command += ["-Y", self.run, *defines]
        self.process = pinned(SERVER_CORE, command, stdout=log, stderr=log)
        ask = ["kamcmd", "-s", f"unix:{control}", "core.uptime"]
        ready = lambda: control.exists() and subprocess.run(ask, capture_output=True).returncode == 0
        wait_until(ready, self.process, self.run / "kamailio.log")
        time.sleep(1)
        return [self.process.pid, *pids]

    def start_rtpengine(self):
        """In userspace (no kernel table), on the same core."""
        command = ["rtpengine", "--table=-1", "--interface=127.0.0.1", "--listen-ng=127.0.0.1:2223"]
        command += ["--port-min=10000", "--port-max=60000", "--num-threads=2", "--foreground"]
        command += ["--log-stderr", "--log-level=3", "--timeout=600", "--delete-delay=0"]
        log = open(self.run / "rtpengine.log", "w")
        self.relay = pinned(SERVER_CORE, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        time.sleep(1)
        return self.relay.pid

    def empty_records(self):
        folder = self.run / "acc"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for table in ("acc", "version"):
            shutil.copy(f"/usr/share/kamailio/dbtext/kamailio/{table}", folder)

    def stop(self):
        end(self.process)
        if self.relay:
            end(self.relay)
            self.relay = None


def whimbrel_is_ready():
    try:
        with urllib.request.urlopen("http://127.0.0.1:19640/health/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until(ready, process, log, seconds=60):
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise SystemExit(f"error: {log} says why this server did not start")
        time.sleep(0.1)


def end(process):
    """Ends a process of ours, by its id."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
