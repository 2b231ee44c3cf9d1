"""Every mistake is refused by the API server with a message that names the field, or told of by the operator."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.kube.crd_cases import OPERATOR_ONLY, REFUSED
from tests.support.control_plane.api import Answer, Api, collection_of
from tests.unit.resource.bad_documents import CASES
from tests.unit.resource.documents import varied
from workerpool_operator.resource import ResourceError, parse_pool

pytestmark = pytest.mark.integration

FOR_THE_SERVER = [case for case in CASES if case[0] not in OPERATOR_ONLY]
FOR_THE_OPERATOR = [case for case in CASES if case[0] in OPERATOR_ONLY]
UNPROCESSABLE = (400, 422)


def offer(api: Api, document: dict[str, Any]) -> Answer:
    """What the API server says of a document; it keeps nothing. Strict, as kubectl is."""
    document["metadata"] = {**document["metadata"], "namespace": "default"}
    return api.request("POST", collection_of(document), document, fieldValidation="Strict", dryRun="All")


def names(cases: list[tuple[dict[str, Any], str]]) -> list[str]:
    return [f"{n}-{line.split(':')[0]}" for n, (_, line) in enumerate(cases)]


def test_the_table_is_whole() -> None:
    assert len(FOR_THE_SERVER) + len(REFUSED) >= 40
    assert len(FOR_THE_OPERATOR) == len(OPERATOR_ONLY), "a case has changed its wording"


@pytest.mark.parametrize(("fields", "line"), FOR_THE_SERVER, ids=names(FOR_THE_SERVER))
def test_the_server_refuses_and_names_the_field(api: Api, fields: dict[str, Any], line: str) -> None:
    answer = offer(api, varied(**fields))
    place = line.partition(": ")[0].partition('["')[0].removesuffix(".cpu")  # of a map, the server names the map
    field = re.findall(r"[A-Za-z_]+", place)[-1]

    assert answer.status in UNPROCESSABLE, answer.body
    assert "spec" in answer.body["message"]
    assert field in answer.body["message"]
    assert "secret@" not in answer.body["message"], "a password is repeated"


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=names(list(REFUSED)))
def test_the_server_refuses_more(api: Api, fields: dict[str, Any], field: str) -> None:
    answer = offer(api, varied(**fields))

    assert answer.status in UNPROCESSABLE, answer.body
    assert field in answer.body["message"]
    assert "hunter2" not in answer.body["message"]


@pytest.mark.parametrize(("fields", "line"), FOR_THE_OPERATOR, ids=names(FOR_THE_OPERATOR))
def test_what_only_the_operator_knows_it_tells_in_one_line(api: Api, fields: dict[str, Any], line: str) -> None:
    answer = offer(api, varied(**fields))

    assert answer.status == 201, answer.body
    with pytest.raises(ResourceError) as caught:
        parse_pool(answer.body)
    assert str(caught.value) == line


@pytest.mark.parametrize("name", ["Email", "a.b", "a" * 64, "-a", ""])
def test_a_name_that_no_label_can_hold_is_refused(api: Api, name: str) -> None:
    document = varied()
    document["metadata"] = {"name": name}
    answer = offer(api, document)

    assert answer.status in UNPROCESSABLE
    assert "name" in answer.body["message"]


@pytest.mark.parametrize("spec", [..., None, [], "x", {}])
def test_a_document_without_a_spec_is_refused(api: Api, spec: Any) -> None:
    document = varied()
    document["spec"] = spec
    if spec is ...:
        del document["spec"]
    answer = offer(api, document)

    assert answer.status in UNPROCESSABLE
    assert "spec" in answer.body["message"]
