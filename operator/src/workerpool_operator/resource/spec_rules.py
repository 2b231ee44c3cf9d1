"""Rules over the sizes, the broker, the schedules, and what is scaled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from workerpool_operator.resource.errors import Problem
from workerpool_operator.resource.model import DEFAULT_MAX_REPLICAS
from workerpool_operator.resource.rule import Document, Path, entries_at, number_at, value_at
from workerpool_operator.resource.worker import is_bundled_image


def min_at_most_max(document: Document) -> Iterator[Problem]:
    """The least size is not more than the largest."""
    least, most = number_at(document, "spec", "minReplicas"), number_at(document, "spec", "maxReplicas")
    if least is None:
        return
    if most is not None and most < least:
        yield Problem(path=("spec", "maxReplicas"), message=f"{most} is less than minReplicas {least}")
    elif value_at(document, "spec", "maxReplicas") is None and least > DEFAULT_MAX_REPLICAS:
        message = f"{least} is more than maxReplicas {DEFAULT_MAX_REPLICAS} (its default); set maxReplicas"
        yield Problem(path=("spec", "minReplicas"), message=message)


def pin_at_most_max(document: Document) -> Iterator[Problem]:
    """A pinned size is not more than the largest."""
    return _at_most_max(document, [(("spec", "replicas"), number_at(document, "spec", "replicas"))])


def fallback_at_most_max(document: Document) -> Iterator[Problem]:
    """The size while the broker is away is not more than the largest."""
    path = ("spec", "scaling", "fallback", "replicas")
    return _at_most_max(document, [(path, number_at(document, *path))])


def schedules_at_most_max(document: Document) -> Iterator[Problem]:
    """A schedule's minimum is not more than the largest size."""
    schedules = entries_at(document, "spec", "scaling", "schedules")
    return _at_most_max(
        document, (((*path, "minReplicas"), number_at(entry, "minReplicas")) for path, entry in schedules)
    )


def _at_most_max(document: Document, sizes: Iterable[tuple[Path, int | None]]) -> Iterator[Problem]:
    given = value_at(document, "spec", "maxReplicas")
    most = DEFAULT_MAX_REPLICAS if given is None else number_at(document, "spec", "maxReplicas")
    if most is None:
        return
    default = " (its default)" if given is None else ""
    for path, size in sizes:
        if size is not None and size > most:
            yield Problem(path=path, message=f"{size} is more than maxReplicas {most}{default}")


def worker_or_deployment(document: Document) -> Iterator[Problem]:
    """A pool has workers of its own or scales what exists."""
    spec = value_at(document, "spec")
    if isinstance(spec, Mapping) and ("worker" in spec) == ("deploymentRef" in spec):
        hint = "" if "worker" in spec else " (worker: {} is the bundled worker)"
        yield Problem(path=("spec",), message=f"set exactly one of worker and deploymentRef{hint}")


def no_local_deployment(document: Document) -> Iterator[Problem]:
    """There is nothing to refer to in local mode."""
    if value_at(document, "spec", "deploymentRef") is not None:
        message = "local mode has no Deployments; set worker instead (worker: {} is the bundled worker)"
        yield Problem(path=("spec", "deploymentRef"), message=message)


def local_needs_command(document: Document) -> Iterator[Problem]:
    """Local mode starts processes, so it has to know the command."""
    worker = value_at(document, "spec", "worker")
    image = value_at(worker, "image")
    if isinstance(image, str) and not is_bundled_image(image) and not value_at(worker, "command"):
        message = "local mode runs no images; set command to what the image would run"
        yield Problem(path=("spec", "worker", "image"), message=message)


def broker_address(document: Document) -> Iterator[Problem]:
    """A broker has an address."""
    broker = value_at(document, "spec", "broker")
    if isinstance(broker, Mapping) and "url" not in broker and "urlSecretRef" not in broker:
        yield Problem(path=("spec", "broker"), message="set exactly one of url and urlSecretRef")


def broker_required(document: Document) -> Iterator[Problem]:
    """There is a broker."""
    spec = value_at(document, "spec")
    if isinstance(spec, Mapping) and "broker" not in spec:
        yield Problem(path=("spec", "broker"), message="is required: set its url or urlSecretRef")


def one_broker_address(document: Document) -> Iterator[Problem]:
    """A broker does not have two addresses."""
    broker = value_at(document, "spec", "broker")
    if isinstance(broker, Mapping) and "url" in broker and "urlSecretRef" in broker:
        yield Problem(path=("spec", "broker"), message="set exactly one of url and urlSecretRef")


def ca_needs_tls(document: Document) -> Iterator[Problem]:
    """A CA is of use only with TLS."""
    broker = value_at(document, "spec", "broker")
    url = value_at(broker, "url")
    if isinstance(url, str) and value_at(broker, "caSecretRef") is not None:
        scheme = url.partition("://")[0]
        if scheme in ("redis", "redis+sentinel", "unix"):
            better = f"; use {'rediss' + scheme[5:]}://" if scheme != "unix" else "; remove it"
            message = f"the url is {scheme}://, which does not use TLS{better}"
            yield Problem(path=("spec", "broker", "caSecretRef"), message=message)


def start_is_not_end(document: Document) -> Iterator[Problem]:
    """A schedule lasts."""
    for path, schedule in entries_at(document, "spec", "scaling", "schedules"):
        # Here, not above: cronsim is only paid for by those who have schedules.
        from workerpool_operator.resource.cron import check_cron, same_times  # noqa: PLC0415

        start, end = schedule.get("start"), schedule.get("end")
        if not isinstance(start, str) or not isinstance(end, str):
            continue
        try:
            same = same_times(check_cron(start), check_cron(end))
        except ValueError:
            continue
        if same:
            yield Problem(
                path=(*path, "end"), message="is the same time as start; the schedule would never be in force"
            )
