"""The example shop on a cluster: sends it a rush of jobs, and counts what the jobs left behind.

Nothing here believes a worker's own word: charges are rows of the provider's books, mails are what the mail server
received, orders, stock and invoices are rows of the database.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.pods.kubectl import Kubectl
from tests.support.pods.watcher import at
from tests.support.waiting import eventually
from workerpool_worker.effects import EffectsReader


@dataclass(frozen=True, kw_only=True)
class Rush:
    """Jobs sent at once: each order becomes an order, a payment and two mails, each payment of no order one mail."""

    id: str
    orders: int
    welcomes: int
    payments: int

    @property
    def jobs(self) -> int:
        return 4 * self.orders + self.welcomes + 2 * self.payments


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a rush left behind, by kind of effect: how many jobs have it, and which have it more than once."""

    done: dict[str, int]
    twice: dict[str, int]


def wanted(rush: Rush) -> dict[str, int]:
    """What a rush should leave behind."""
    return {
        "orders paid": rush.orders,
        "orders with stock taken": rush.orders,
        "invoices": rush.orders,
        "charges": rush.orders + rush.payments,
        "confirmations": rush.orders,
        "receipts": rush.orders + rush.payments,
        "welcomes": rush.welcomes,
    }


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The shop in a namespace, its database and its mail server reached through port-forwards."""

    kubectl: Kubectl
    database: EffectsReader
    mail_port: int

    def send(self, rush: Rush) -> float:
        """Send a rush from a pod of its own; returns when it was all sent, in Unix seconds by this machine's clock."""
        template = self.kubectl.json("get", "cronjob", "load")["spec"]["jobTemplate"]
        container = template["spec"]["template"]["spec"]["containers"][0]
        sizes = [f"--orders={rush.orders}", f"--welcomes={rush.welcomes}", f"--payments={rush.payments}"]
        container["args"] = ["enqueue", "rush", f"--id={rush.id}", *sizes, "--stock"]
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": rush.id}, "spec": template["spec"]}
        self.kubectl.apply(job)
        self.kubectl.run("wait", "--for=condition=complete", f"job/{rush.id}", "--timeout=120s")
        done = self.kubectl.json("get", "job", rush.id)["status"]["completionTime"]
        return at(done)

    def mails(self) -> list[dict[str, Any]]:
        """Every mail received, oldest first."""
        url = f"http://127.0.0.1:{self.mail_port}/mails"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def count(self, rush: Rush) -> Counted:
        """Count what a rush left behind so far."""
        mine = rush.id + "-"
        orders = {order.id: order for order in self.database.orders() if order.id.startswith(mine)}
        reserved = Counter(
            (move.order_id, move.sku) for move in self.database.stock_movements() if move.kind == "reserve"
        )
        charged = Counter(
            entry.payment
            for entry in self.database.ledger_entries()
            if entry.kind == "charge" and entry.status == "succeeded" and entry.payment.startswith(mine)
        )
        mails = Counter(mail["X-Job-Id"] for mail in self.mails())
        mine_sent = {
            kind: Counter({job: n for job, n in mails.items() if job and job.startswith(f"email-{prefix}-{mine}")})
            for kind, prefix in {
                "confirmations": "order-confirmation",
                "receipts": "receipt",
                "welcomes": "welcome",
            }.items()
        }
        invoices = Counter(invoice.order_id for invoice in self.database.invoices() if invoice.order_id in orders)
        stocked = {order for order, _sku in reserved if order in orders}
        done = {
            "orders paid": sum(1 for order in orders.values() if order.state == "paid"),
            "orders with stock taken": len(stocked),
            "invoices": len(invoices),
            "charges": len(charged),
            **{kind: len(jobs) for kind, jobs in mine_sent.items()},
        }
        every = [*reserved.items(), *charged.items(), *invoices.items()]
        every += [item for jobs in mine_sent.values() for item in jobs.items()]
        return Counted(done=done, twice={str(key): n for key, n in every if n > 1})

    def until_done(self, rush: Rush, within_s: float) -> Counted:
        """Wait until everything a rush should leave behind is there."""

        def complete() -> bool:
            counted = self.count(rush)
            assert counted.done == wanted(rush), counted.done
            return True

        eventually(complete, within_s, f"all effects of {rush.jobs} jobs", every_s=1)
        return self.count(rush)


@contextmanager
def reaching(kubectl: Kubectl, database_url: str) -> Iterator[Shop]:
    """The shop, reachable from this machine while the block runs. ``database_url`` as the pods have it."""
    with kubectl.forwarded("service/postgres", 5432) as port, kubectl.forwarded("service/mail", 8025) as mail_port:
        here = database_url.replace("@postgres:5432", f"@127.0.0.1:{port}")
        database = EffectsReader(here)
        try:
            yield Shop(kubectl=kubectl, database=database, mail_port=mail_port)
        finally:
            database.close()
