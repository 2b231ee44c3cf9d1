"""Passwords are in Secrets and nowhere else: not in what was rendered, said, reported or measured."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import quote

import pytest

from tests.support.pods.kubectl import Kubectl, KubectlError
from tests.support.pods.node import Node
from tests.support.pods.shop import Rush, Shop
from tests.support.pods.watcher import PodWatcher
from tools.cluster import Cluster, shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def forms(password: str) -> set[str]:
    """The password as it might appear: plain, in a URL, or in base64 with whatever stands before it."""
    encoded = {base64.b64encode(b"x" * shift + password.encode()).decode()[4:-4] for shift in range(3)}
    return {password, quote(password, safe=""), *encoded}


def test_a_password_is_found_in_whatever_form_it_appears() -> None:
    canary = "canary/Pa55+word"
    for text in (
        f"redis://:{canary}@redis",
        f"x={quote(canary, safe='')}",
        base64.b64encode(b"url: " + canary.encode()).decode(),
    ):
        assert any(form in text for form in forms(canary)), text


def test_no_password_is_anywhere_but_in_secrets(
    cluster: Cluster,
    kubectl: Kubectl,
    node: Node,
    store: Shop,
    watcher: PodWatcher,
    rush: Callable[..., Rush],
    secrets: Callable[[str, str], str],
) -> None:
    passwords = {
        "of Redis": secrets("workerpool-redis", "password"),
        "of PostgreSQL": secrets("shop", "DATABASE_URL").split("://shop:")[1].split("@")[0],
    }
    # pods that fail say more than pods that work: one whose broker refuses the login, beside a rush that is done
    _wrong_password(kubectl)
    sent = rush(10)
    store.send(sent)
    store.until_done(sent, 240)
    kubectl.run("wait", "workerpool/wrong-password", "--for=condition=BrokerReachable=False", "--timeout=60s")
    texts = _everything(cluster, kubectl, node)
    kubectl.run("delete", "workerpool/wrong-password", "secret/wrong-password")
    found = {
        f"the password {whose} is in {where}"
        for whose, password in passwords.items()
        for where, text in texts.items()
        if any(form in text for form in forms(password))
    }
    assert found == set()
    assert not [where for where, text in texts.items() if "wrong-Pa55word" in text]


def _wrong_password(kubectl: Kubectl) -> None:
    url = "redis://:wrong-Pa55word@workerpool-redis:6379/0"
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong-password"}, "stringData": {"url": url}}
    )
    spec = {
        "queues": [{"name": "nobody"}],
        "broker": {"urlSecretRef": {"name": "wrong-password", "key": "url"}},
        "minReplicas": 1,
        "maxReplicas": 1,
        "worker": {"envFrom": [{"secretRef": {"name": "shop"}}]},
    }
    metadata = {"name": "wrong-password"}
    kubectl.apply({"apiVersion": "workerpool.dev/v1alpha1", "kind": "WorkerPool", "metadata": metadata, "spec": spec})


def _everything(cluster: Cluster, kubectl: Kubectl, node: Node) -> Mapping[str, str]:
    """All that can be read without reading a Secret, by where it was read."""
    texts: dict[str, str] = {}
    kinds = kubectl.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    for kind in kinds:
        if kind == "secrets":
            continue
        try:
            texts[kind] = kubectl.run("get", kind, "-o", "yaml")
        except KubectlError:
            texts[kind] = ""  # gone, or not for listing
    assert "kind: WorkerPool" in texts["workerpools.workerpool.dev"]
    assert "kind: Event" in texts["events"]
    for key, lines in node.kept_logs(shop.NAMESPACE).items():
        texts[f"the log of {key}"] = "\n".join(lines)
    assert any("workerpool-operator" in key for key in texts), list(texts)
    with kubectl.forwarded("service/workerpool-operator-metrics", 8080) as port:
        texts["metrics"] = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    assert "workerpool_queue_ready_jobs" in texts["metrics"] or "workerpool_leader" in texts["metrics"]
    for part in ("manifest", "values", "notes", "hooks"):
        said = cluster.helm("get", part, shop.RELEASE, "--namespace", shop.NAMESPACE)
        documents = said.split("\n---\n")
        texts[f"helm get {part}"] = "\n".join(one for one in documents if "\nkind: Secret\n" not in f"\n{one}\n")
    return texts
