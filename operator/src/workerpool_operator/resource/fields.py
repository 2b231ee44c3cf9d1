"""Walks the model: which fields lie under a path. Serves error hints, the reference page and the CRD."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from workerpool_operator.resource.base import Model
from workerpool_operator.resource.model import WorkerPool


@cache
def fields_of(model: type[Model]) -> Mapping[str, FieldInfo]:
    """The fields of a part of the resource, under their names in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def child_model(annotation: Any) -> type[Model] | None:
    """The part of the resource behind an annotation, through optional and list; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if get_origin(annotation) in (tuple, Annotated, Union, types.UnionType):
        found = (child_model(argument) for argument in get_args(annotation))
        return next((model for model in found if model is not None), None)
    return None


def model_at(path: Sequence[str | int]) -> type[Model] | None:
    """The part of the resource that lies at a path, None for plain values and unknown paths."""
    model: type[Model] | None = WorkerPool
    for part in path:
        if isinstance(part, int):
            continue
        field = fields_of(model).get(part) if model else None
        model = child_model(field.annotation) if field else None
    return model


def walk(
    model: type[Model] = WorkerPool, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Model], FieldInfo]]:
    """Every field of the resource, depth first in the order of the model, as (path, owner, field)."""
    for alias, field in fields_of(model).items():
        yield (*path, alias), model, field
        child = child_model(field.annotation)
        if child is not None:
            yield from walk(child, (*path, alias))


@cache
def homes() -> Mapping[str, tuple[str, ...]]:
    """Where each field name of the resource belongs: its first path, the shallowest one."""
    found: dict[str, tuple[str, ...]] = {}
    for path, _, _ in walk():
        if path[-1] not in found or len(path) < len(found[path[-1]]):
            found[path[-1]] = path
    return found
