"""The table of jobs: those of this package, those of installed packages, and those WORKERPOOL_JOBS names.

A job is a message and the place of its code. This module imports messages only: the parent process starts quickly and
stays small because a job's code is imported by the children that run it.

A package brings jobs by an entry point of the group `workerpool.jobs`. Code that is only on PYTHONPATH, such as a
volume in the stock image, is named by WORKERPOOL_JOBS. Either names a tuple of JobSpec, or a function giving one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Final, NamedTuple

from workerpool_worker import models
from workerpool_worker.jobs.hooks import messages as hooks
from workerpool_worker.jobs.maintenance import messages as maintenance
from workerpool_worker.registry_checks import RegistryError, checked, named_object

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

GROUP: Final = "workerpool.jobs"
BUNDLED: Final = "bundled"


@dataclass(frozen=True)
class JobSpec:
    """A job: its message, where its code is, and what the worker has to know of it before it runs.

    Attributes:
        message: The model of its arguments, which says its task's name and its queue.
        code: `module:function`, imported when the job first runs; called with the context and the message.
        provider: Names the service the job calls with these settings, for a rate limit that all its callers share;
            None where it calls none.
    """

    message: type[models.Job]
    code: str
    provider: Callable[[Settings], str | None] | None = None


_JOBS = "workerpool_worker.jobs"
JOBS: tuple[JobSpec, ...] = (
    JobSpec(models.Email, f"{_JOBS}.email.send:send_email"),
    JobSpec(models.TemplateEmail, f"{_JOBS}.email.send:send_template"),
    JobSpec(models.WelcomeEmail, f"{_JOBS}.email.send:send_welcome"),
    JobSpec(models.OrderConfirmationEmail, f"{_JOBS}.email.send:send_order_confirmation"),
    JobSpec(models.ShippingNotificationEmail, f"{_JOBS}.email.send:send_shipping_notification"),
    JobSpec(models.PaymentReceiptEmail, f"{_JOBS}.email.send:send_payment_receipt"),
    JobSpec(models.Sms, f"{_JOBS}.sms.send:send_sms"),
    JobSpec(models.Order, f"{_JOBS}.orders.process:process_order"),
    JobSpec(models.Payment, f"{_JOBS}.payments.process:process_payment"),
    JobSpec(models.Refund, f"{_JOBS}.payments.process:process_refund"),
    JobSpec(models.Verify, f"{_JOBS}.payments.process:process_verify"),
    JobSpec(maintenance.Recover, f"{_JOBS}.maintenance.recover:recover"),
    JobSpec(maintenance.CleanUp, f"{_JOBS}.maintenance.cleanup:clean_up"),
    JobSpec(maintenance.Report, f"{_JOBS}.maintenance.report:report"),
    JobSpec(hooks.HookWebhook, f"{_JOBS}.hooks.webhook:send_webhook"),
    JobSpec(hooks.HookEmail, f"{_JOBS}.hooks.email:send_hook_email"),
)


class Registered(NamedTuple):
    """A job and who brought it: "bundled", the entry point and its package, or the part of WORKERPOOL_JOBS."""

    spec: JobSpec
    source: str


def all_jobs(settings: Settings) -> tuple[JobSpec, ...]:
    """Every job this worker knows.

    Raises:
        RegistryError: somebody's jobs cannot be used; the text is one line that says whose and why.
    """
    return tuple(entry.spec for entry in registered(settings.jobs))


@cache
def registered(named: tuple[str, ...] = ()) -> tuple[Registered, ...]:
    """Every job with its source. Read once a process: what is installed does not change under it.

    Args:
        named: The parts of WORKERPOOL_JOBS, each `package.module:NAME`.

    Raises:
        RegistryError: as for `all_jobs`.
    """
    known = tuple(Registered(spec, BUNDLED) for spec in JOBS)
    for place, source in _places(named):
        known = added(known, named_object(place, source), source)
    return known


def added(known: tuple[Registered, ...], found: object, source: str) -> tuple[Registered, ...]:
    """The table with the jobs of one source, a tuple of JobSpec or a function giving one, put in.

    Raises:
        RegistryError: as for `all_jobs`.
    """
    for spec in checked(found, JobSpec, source):
        entry = Registered(spec, source)
        # A package that is installed and named by the variable as well brings its jobs once.
        if all(spec != other.spec for other in known):
            _refuse_a_second_of_its_name(entry, known)
            known = (*known, entry)
    return known


def _places(named: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Where jobs of others are (`module:NAME`), and how to call that place in an error."""
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
        yield point.value, f"entry point {point.name}{package} ({point.value})"
    for place in named:
        yield place, f"WORKERPOOL_JOBS ({place})"


def _refuse_a_second_of_its_name(entry: Registered, known: tuple[Registered, ...]) -> None:
    message = entry.spec.message
    for other in known:
        if other.spec.message.task == message.task:
            whose = "the bundled worker" if other.source == BUNDLED else other.source
            raise RegistryError(
                f"{entry.source}: task {message.task!r} of {message.__name__} is there already, from {whose}; "
                "give it a name of its own"
            )
        if other.spec.message.prefix == message.prefix:
            # Ids are made of the prefix: with one prefix, two jobs would be taken for the same one.
            raise RegistryError(
                f"{entry.source}: prefix {message.prefix!r} of {message.__name__} is that of "
                f"task {other.spec.message.task!r} already; give it one of its own"
            )
