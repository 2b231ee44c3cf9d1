"""What a build is told of the machine it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cluster.errors import ClusterError
from tools.cluster.surroundings import build_arguments, extra_ca

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER = PEM.replace("AAAA", "BBBB")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return path


def test_an_ordinary_machine_asks_for_nothing(tmp_path: Path) -> None:
    assert build_arguments({"PATH": "/bin", "BASE_IMAGE": ""}, [tmp_path / "missing", tmp_path]) == {}


def test_a_mirror_and_a_proxy_are_passed_on() -> None:
    env = {"PIP_INDEX_URL": "https://pip.example", "https_proxy": "http://proxy.example:3128", "HOME": "/tmp"}
    assert build_arguments(env, []) == {
        "PIP_INDEX_URL": "https://pip.example",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_the_file_named_in_extra_ca_wins(tmp_path: Path) -> None:
    named, other = write(tmp_path / "own.pem", PEM), write(tmp_path / "pip.pem", OTHER)
    assert extra_ca({"EXTRA_CA": str(named), "PIP_CERT": str(other)}, []) == PEM


def test_a_small_bundle_is_handed_over_whole(tmp_path: Path) -> None:
    assert extra_ca({"SSL_CERT_FILE": str(write(tmp_path / "own.pem", PEM))}, []) == PEM


def test_of_the_systems_whole_list_only_what_was_added_to_it(tmp_path: Path) -> None:
    whole = write(tmp_path / "ca-certificates.crt", PEM * 4000)
    added = tmp_path / "added"
    write(added / "b.crt", OTHER)
    write(added / "nested" / "a.crt", PEM)
    write(added / "readme.crt", "no certificate")
    assert extra_ca({"SSL_CERT_FILE": str(whole)}, [added]) == OTHER + PEM


@pytest.mark.parametrize("content", [None, "", "no certificate", PEM * 4000])
def test_an_extra_ca_that_cannot_be_used_is_said_so(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "own.pem"
    if content is not None:
        write(path, content)
    with pytest.raises(ClusterError, match=r"EXTRA_CA names .*own\.pem"):
        extra_ca({"EXTRA_CA": str(path)}, [])
