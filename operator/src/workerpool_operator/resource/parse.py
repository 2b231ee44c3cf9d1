"""One object to one WorkerPool, or to everything that is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from workerpool_operator.resource.base import Model
from workerpool_operator.resource.errors import Problem, ResourceError
from workerpool_operator.resource.fields import child_model, fields_of
from workerpool_operator.resource.messages import problems_of, shown
from workerpool_operator.resource.model import API_VERSION, KIND, WorkerPool
from workerpool_operator.resource.rules import RULES
from workerpool_operator.resource.world import World

SERVER_FIELDS: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "finalizers",
        "generateName",
        "managedFields",
        "ownerReferences",
        "selfLink",
    }
)
"""Fields of metadata that only the API server sets: what ``kubectl get -o yaml`` prints can be read back."""
_MAX_DEPTH: Final = 64
_Path = tuple[str | int, ...]


def parse_pool(body: Mapping[str, Any], *, world: World = World.KUBERNETES) -> WorkerPool:
    """Make a pool of an object as the API server or a YAML parser gives it.

    A field that is null is not set, as on Kubernetes; ``status`` is not looked at.

    Raises:
        ResourceError: it is not a valid WorkerPool; holds every problem, none with a place in a file.
    """
    problems: list[Problem] = []
    document = _plain(body, WorkerPool, (), problems)
    if problems:
        raise ResourceError(problems)
    check_kind(document)
    document.pop("status", None)
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        document["metadata"] = {key: value for key, value in metadata.items() if key not in SERVER_FIELDS}
    pool: WorkerPool | None = None
    try:
        # by_name: in YAML, min_replicas is a mistake that is told, not another spelling.
        pool = WorkerPool.model_validate_json(json.dumps(document), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = problems_of(error)
    for rule in RULES:
        if world in rule.worlds:
            problems.extend(rule.find(document))
    if pool is None or problems:
        raise ResourceError(problems)
    return pool


def check_kind(document: object) -> None:
    """Check that a document is meant to be a WorkerPool, before anything else is said of it.

    Raises:
        ResourceError: it is of another kind, or of an apiVersion that this version does not know.
    """
    if not isinstance(document, Mapping):
        raise ResourceError(
            [Problem(path=(), message="must be a WorkerPool: a mapping with apiVersion, kind and so on")]
        )
    found = []
    for path, wanted, sentence in (
        (("kind",), KIND, "is not a WorkerPool"),
        (("apiVersion",), API_VERSION, f"is not {API_VERSION}"),
    ):
        value = document.get(path[0])
        if value is None:
            found.append(Problem(path=path, message=f"is required: {wanted}"))
        elif value != wanted:
            text = (shown(value, path) or "what is given").strip('"')
            found.append(Problem(path=path, message=f"{text} {sentence}"))
    if found:
        raise ResourceError(found)


def _plain(value: Any, model: type[Model] | None, path: _Path, problems: list[Problem]) -> Any:
    """Copy a value as JSON has it, without fields that are null; what JSON cannot hold is a problem."""
    if len(path) > _MAX_DEPTH:
        problems.append(Problem(path=path[:_MAX_DEPTH], message="is nested too deeply"))
        return None
    if isinstance(value, Mapping):
        fields = fields_of(model) if model is not None else {}
        copy = {}
        for key, entry in value.items():
            if not isinstance(key, str) or not _is_unicode(key):
                problems.append(Problem(path=path, message="the names of fields must be text"))
                continue
            field = fields.get(key)
            child = child_model(field.annotation) if field is not None else None
            # A null field is one that is not set; of an unknown name it stays, to be told.
            is_unknown = model is not None and field is None and model.model_config.get("extra") == "forbid"
            if entry is not None or is_unknown:
                copy[key] = _plain(entry, child, (*path, key), problems)
        return copy
    if isinstance(value, (list, tuple)):
        return [_plain(entry, model, (*path, index), problems) for index, entry in enumerate(value)]
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if value is None or is_number or (isinstance(value, str) and _is_unicode(value)):
        return value
    problems.append(Problem(path=path, message="must be text, a number, true or false, a list or a mapping"))
    return None


def _is_unicode(text: str) -> bool:
    """Whether a text can be sent at all: half a surrogate pair cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else True
