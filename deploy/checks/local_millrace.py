"""What the checks of a local Millrace share: its addresses, events signed as their providers sign, its processes."""
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("MILLRACE_LOCAL", ROOT / ".cache/local")).resolve()
SCRIPTS = ROOT / "deploy/local"
REGISTRY = "http://127.0.0.1:19181/apis/ccompat/v7"
ADMIN = {"ingest": 9190, "transform": 9191, "deliver": 9192, "dlq-replayer": 9193}
INGEST = ("127.0.0.1", 8080)


def fail(told):
    raise SystemExit(f"{pathlib.Path(os.sys.argv[0]).stem}: {told}")


def up():
    """Starts what does not run, as `make up` does, and waits until all is ready."""
    done = subprocess.run([SCRIPTS / "millrace.sh", "up"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        fail(f"could not start Millrace:\n{done.stdout}{done.stderr}")


def kill(*folders_and_names):
    """Kills processes of `make up` with -9, each with all it started, as a power cut would."""
    for folder, name in folders_and_names:
        file = FOLDER / folder / f"{name}.pid"
        os.killpg(int(file.read_text()), signal.SIGKILL)
        file.unlink()


def end(name):
    """Ends a process of `make up` by SIGTERM and waits for it."""
    text = f'. "{SCRIPTS}/process.sh"; end "{FOLDER}" "{name}" 10'
    subprocess.run(["bash", "-c", text], check=True, stdin=subprocess.DEVNULL)


def everything():
    """Returns folder and name of every process that `make up` started."""
    files = FOLDER.glob("**/*.pid")
    return [(file.parent.relative_to(FOLDER), file.stem) for file in files]


def millrace(*arguments):
    """Runs a command of the executable and returns what it prints as JSON."""
    binary = os.environ.get("MILLRACE_BIN", ROOT / "target/debug/millrace")
    ours = ("MILLRACE_BIN", "MILLRACE_LOCAL")  # the executable knows its own variables only
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    command = [binary, "--config", FOLDER / "millrace.toml", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        fail(f"millrace {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def ask(url, body=None):
    """Returns a JSON answer."""
    request = urllib.request.Request(url, body and json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait(what, seconds, look):
    """Looks again and again until it finds something true, and returns that."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.2)
    return found


def secret(name):
    return (ROOT / "examples/secrets" / name).read_text().strip().encode()


def mac(name, data):
    return hmac.new(secret(name), data, hashlib.sha256).hexdigest()


def signed(source, kind, event, body):
    """Returns the headers with which the source's provider would send the body."""
    now = str(int(time.time()))
    if source == "github":
        return {"X-GitHub-Event": kind, "X-GitHub-Delivery": event, "X-Hub-Signature-256": "sha256=" + mac("github", body)}
    if source == "payments":
        return {"Stripe-Signature": f"t={now},v1=" + mac("stripe", now.encode() + b"." + body)}
    signature = "sha256=" + mac("shop", now.encode() + b"." + body)
    return {"X-Shop-Signature": signature, "X-Shop-Timestamp": now, "X-Shop-Event-Id": event, "X-Shop-Event": kind}


def post(source, body, headers):
    """Posts an event and returns the answer's status."""
    connection = http.client.HTTPConnection(*INGEST, timeout=10)
    try:
        connection.request("POST", f"/v1/events/{source}", body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def send(source, kind, event, content):
    """Sends an event that has to be accepted."""
    body = json.dumps(content, separators=(",", ":")).encode()
    if (status := post(source, body, signed(source, kind, event, body))) != 200:
        fail(f"event {event} of {source} was answered with {status}; see {FOLDER}/ingest.log")


def order(mark):
    """Sends an order; the destination crm gets it as it is."""
    send("orders", "order.created", mark, {"order": {"id": mark, "total": 12}})
