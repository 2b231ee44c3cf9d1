"""One line that says what to do, from pages of what programs say."""

from __future__ import annotations

import pytest

from tools.cluster.errors import CommandError


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("write /var/lib: no space left on device", "the disk is full"),
        ("Bind for 0.0.0.0:80 failed: port is already allocated", "a port is in use by another container"),
        ("listen tcp: bind: address already in use", "a port is in use by another program"),
        ("Cannot connect to the Docker daemon at unix:///x.", "Docker does not run"),
        ("tls: certificate verify failed: self-signed", "Name its file in EXTRA_CA"),
    ],
)
def test_a_known_complaint_becomes_advice(said: str, told: str) -> None:
    assert told in str(CommandError(["docker", "build", "."], 1, f"step 1\n{said}\nstep 2"))


def test_an_unknown_complaint_is_quoted_from_its_error_line() -> None:
    error = CommandError(
        ["helm", "--kube-context", "kind-x", "upgrade"], 1, "WARN a\nError: no such chart\nuse --help\n"
    )
    assert str(error) == "helm kind-x upgrade: Error: no such chart"


def test_a_silent_failure_has_its_status() -> None:
    assert str(CommandError(["kind", "create"], 7, "\n")) == "kind create: ended with status 7"


def test_a_program_that_hung_is_named_so() -> None:
    assert str(CommandError(["kubectl", "wait"], None, "")) == "kubectl wait: took too long"
