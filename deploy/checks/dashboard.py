#!/usr/bin/env python3
"""Checks that no panel of the dashboard is dead: runs every query of it on a real Prometheus that scrapes `make up`.

It sends events that are delivered, filtered, unrouted and refused, lets a destination fail until there are dead
letters, and asks under two release names. A query that finds nothing, or counts nothing, fails the check.
"""
import json
import math
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse

from local_millrace import ADMIN, ROOT, ask, end, fail, order, post, send, up, wait

DASHBOARD = ROOT / "helm/millrace/dashboards/overview.json"
SCRAPED = ROOT / "deploy/compose/prometheus.yml"
RELEASES = ("one", "two")
WINDOW = "20s"
PATIENCE = 120


def queries(panels):
    """Yields title and expression of every target, also of those in folded rows."""
    for panel in panels:
        yield from queries(panel.get("panels", []))
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def configuration():
    """Returns what Prometheus scrapes: the targets and jobs of the compose file, on this machine, as two releases."""
    told = re.findall(r'targets: \["([a-z-]+):9090"\], labels: \{ job: ([a-z-]+),', SCRAPED.read_text())
    if {name for name, _ in told} != set(ADMIN):
        fail(f"{SCRAPED} scrapes {told}, not the four services")
    targets = [
        {"targets": [f"127.0.0.1:{ADMIN[name]}"], "labels": {"job": job, "release": release}}
        for name, job in told
        for release in RELEASES
    ]
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "millrace", "static_configs": targets}]}


class Prometheus:
    """A Prometheus of its own for this check."""

    def __init__(self, folder):
        program = shutil.which("prometheus") or shutil.which(ROOT / ".cache/tools/bin/prometheus")
        if not program:
            fail("prometheus is missing; install it so that `prometheus` is found in PATH")
        file = pathlib.Path(folder) / "prometheus.yml"
        file.write_text(json.dumps(configuration()))  # JSON is YAML
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        self.log = pathlib.Path(folder) / "prometheus.log"
        command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={self.address}"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def result(self, expression):
        """Returns the series that an expression finds now."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            return ask(f"http://{self.address}/api/v1/query?{query}")["data"]["result"]
        except urllib.error.HTTPError as error:
            fail(f"Prometheus refuses {expression}: {error.read().decode()}")
        except OSError:
            if self.process.poll() is not None:
                fail(f"Prometheus ended:\n{self.log.read_text()}")
            return []

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def finds(result, counts):
    """Whether a result shows something: a number, and where something is counted or timed, one above zero."""
    numbers = [float(series["value"][1]) for series in result]
    numbers = [number for number in numbers if math.isfinite(number)]
    return any(number > 0 for number in numbers) if counts else bool(numbers)


def filled(expression, release):
    return expression.replace("$__rate_interval", WINDOW).replace("$release", release)


class Traffic(threading.Thread):
    """Sends a few events of every kind each second until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.run_id = int(time.time())

    def run(self):
        number = 0
        while not self.stopped.wait(0.25):
            number += 1
            self.round(f"board-{self.run_id}-{number}")

    def round(self, mark):
        repository = {"repository": {"full_name": "acme/storefront"}}
        user = {"title": "Totals", "html_url": "https://github.example/1", "user": {"login": "jonas"}}
        charge = {"id": mark, "amount": 1200, "currency": "eur", "customer": "cus_1"}
        order(f"{mark}-order")
        send("github", "push", f"{mark}-push", {"ref": "refs/heads/main", "after": mark, **repository})
        for draft in (False, True):
            pull_request = {"pull_request": {"draft": draft, **user}, "action": "opened", **repository}
            send("github", "pull_request", f"{mark}-{draft}", pull_request)
        send("github", "star", f"{mark}-star", {"action": "created", **repository})
        send("payments", "", mark, {"id": mark, "type": "charge.succeeded", "data": {"object": charge}})
        forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
        post("github", b"{}", {"X-GitHub-Event": "push", "X-GitHub-Delivery": mark, **forged})

    def stop(self):
        self.stopped.set()
        self.join()


def dead_letters():
    """Lets the third party be away for longer than the budget of one destination, 2 s."""
    end("receiver")
    time.sleep(6)
    up()


def judge(prometheus, asked):
    """Waits until every query has found something under every release; returns what is shown of each."""
    shown = {}

    def look():
        for title, expression in asked:
            for release in RELEASES:
                result = prometheus.result(filled(expression, release))
                if finds(result, "rate(" in expression):
                    shown[title, expression, release] = result
        return len(shown) == len(asked) * len(RELEASES)

    until = time.monotonic() + PATIENCE
    while not look() and time.monotonic() < until:
        time.sleep(1)
    dead = sorted({(title, expression) for title, expression in asked for release in RELEASES
                   if (title, expression, release) not in shown})
    if dead:
        fail("these find nothing:\n" + "\n".join(f"  {title}: {expression}" for title, expression in dead))
    return shown


def main():
    board = json.loads(DASHBOARD.read_text())
    asked = list(dict.fromkeys(queries(board["panels"])))
    up()
    traffic = Traffic()
    with tempfile.TemporaryDirectory() as folder:
        prometheus = Prometheus(folder)
        try:
            traffic.start()
            wait("Prometheus", 30, lambda: len(prometheus.result("up == 1")) == len(ADMIN) * len(RELEASES))
            dead_letters()
            shown = judge(prometheus, asked)
            named = {series["metric"].get("release") for series in prometheus.result("millrace_build_info")}
            foreign = [title for title, expression in asked if prometheus.result(filled(expression, "nobody"))]
        finally:
            traffic.stop()
            prometheus.stop()
    if named != set(RELEASES):
        fail(f"the variable `release` would offer {named}")
    if foreign:
        fail(f"these show other releases than the chosen one: {foreign}")
    for title, expression in asked:
        result = shown[title, expression, RELEASES[0]]
        print(f"{title}: {len(result)} series, {result[0]['metric']} {result[0]['value'][1]}")
    print(f"dashboard: {len(asked)} queries found data under {len(RELEASES)} release names")


if __name__ == "__main__":
    sys.exit(main())
