#!/usr/bin/env python3
"""Checks that `make up` keeps what was written: kills Kafka, registry and services with -9, starts all again, and looks.

Schema ids and schemas are the same, records from before are decoded and delivered, a dead letter reads as before.
"""
import time

from local_millrace import (
    ADMIN, FOLDER, REGISTRY, ask, end, everything, fail, kill, millrace, order, up, wait,
)

ORDERS = 20


def schemas():
    """Returns of every subject and version the id and the schema's text."""
    found = {}
    for subject in ask(f"{REGISTRY}/subjects"):
        for version in ask(f"{REGISTRY}/subjects/{subject}/versions"):
            told = ask(f"{REGISTRY}/subjects/{subject}/versions/{version}")
            found[subject, version] = told["id"], ask(f"{REGISTRY}/schemas/ids/{told['id']}")["schema"]
    return found


def dead_letter(mark):
    """Makes one dead letter and returns its id: its destination is away for longer than its budget."""
    end("receiver")
    begun = str(int(time.time()) - 1)
    order(mark)
    listed = lambda: millrace("dlq", "list", "--destination", "crm", "--since", begun, "--json")["letters"]
    letters = wait("the dead letter", 30, listed)
    up()
    return letters[0]["id"]


def received(marks):
    log = (FOLDER / "receiver.log").read_text(errors="replace")
    return all(f'"id":"{mark}"' in log for mark in marks)


def main():
    up()
    run = f"restart-{int(time.time())}"
    order(f"{run}-first")
    wait("the first order's delivery", 30, lambda: received([f"{run}-first"]))
    letter = dead_letter(f"{run}-dead")
    shown = millrace("dlq", "show", letter, "--json")
    if not shown.get("decoded"):
        fail(f"the dead letter {letter} was not decoded: {shown}")
    # What is accepted from here on has to be decoded by processes that have never seen its schema.
    readers = [("", "transform"), ("", "deliver")]
    kill(*readers)
    marks = [f"{run}-{number}" for number in range(ORDERS)]
    for mark in marks:
        order(mark)
    before = schemas()
    others = everything()
    kill(*others)
    up()
    after = schemas()
    if before != after:
        fail(f"ids or schemas have changed:\nbefore {before}\nafter  {after}")
    wait(f"the delivery of {ORDERS} orders from before", 60, lambda: received(marks))
    if (again := millrace("dlq", "show", letter, "--json")) != shown:
        fail(f"the dead letter {letter} reads differently:\nbefore {shown}\nafter  {again}")
    order(f"{run}-last")
    wait("a new order's delivery", 30, lambda: received([f"{run}-last"]))
    for port in ADMIN.values():
        for probe in ("livez", "readyz", "startupz"):
            ask(f"http://127.0.0.1:{port}/{probe}")
    if schemas() != before:
        fail("a schema was registered anew for records of the same kind")
    print(f"restart: {len(readers + others)} processes killed; {len(before)} schemas and their ids unchanged, "
          f"{ORDERS} orders from before delivered, 1 dead letter as before")


if __name__ == "__main__":
    main()
