"""`workerpool-worker dead-letters`: what was given up, and what to do with it."""

# ruff: noqa: PLC0415 - `--help` and a refused argument need no Redis; the CLI imports this module

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

if TYPE_CHECKING:
    from workerpool_worker.messages.dead_letters import DeadLetters, Filter
    from workerpool_worker.messages.letters import Letter

_Command = Callable[..., Any]
_LONGEST_CELL = 60
_FILTERS = ("queue", "task", "error", "since", "until")


def _filtered(command: _Command) -> _Command:
    """The options that choose letters."""
    for option in (
        click.option("--until", metavar="AGE", help="Died before so long ago: 2h."),
        click.option("--since", metavar="AGE", help="Died within so long: 30m, 2h, 7d."),
        click.option("--error", metavar="GLOB", help="Class of the error: 'Mail*'."),
        click.option("--task", metavar="GLOB", help="Task: 'email.*'."),
        click.option("--queue", help="Queue."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """Jobs that were given up: see why, requeue or discard them, back them up."""


@dead_letters.command("list")
@_filtered
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON each, without the messages.")
def list_letters(*, limit: int, as_json: bool, **chosen: str | None) -> None:
    """The dead letters, the newest of each queue first."""
    wanted = _wanted(chosen)
    with _store() as store:
        counts = store.counts()
        shown: list[Letter] = []
        for letter in store.find(wanted):
            if len(shown) == limit:
                break
            shown.append(letter)
        if as_json:
            for letter in shown:
                click.echo(json.dumps(asdict(letter), ensure_ascii=False))
            return
        if shown:
            _table(shown)
        total = sum(counts.values())
        by_queue = ", ".join(f"{queue} {count}" for queue, count in counts.items())
        click.echo(f"{len(shown)} shown of {total} dead letters" + (f": {by_queue}" if by_queue else ""), err=True)


@dead_letters.command()
@click.argument("letter_id", metavar="ID")
@click.option("--queue", help="Of this queue, where several have it.")
@click.option("--message", "with_message", is_flag=True, help="Also the message, just as it lay in the queue.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(*, letter_id: str, queue: str | None, with_message: bool, as_json: bool) -> None:
    """One of them with everything that is known: error, traceback, arguments."""
    with _store() as store:
        letter = _one(store, letter_id, queue)
        raw = store.message(letter) or b""
        arguments = _arguments(raw)
        if as_json:
            extra = {"message": raw.decode(errors="replace")} if with_message else {}
            click.echo(json.dumps({**asdict(letter), "arguments": arguments, **extra}, ensure_ascii=False))
            return
        for name, value in _described(letter):
            click.echo(f"{name:<12} {value}")
        if arguments is not None:
            click.echo(f"{'arguments':<12} {json.dumps(arguments, ensure_ascii=False)}")
        if letter.trace:
            click.echo(f"\n{letter.trace.rstrip()}")
        if with_message:
            click.echo(f"\n{raw.decode(errors='replace')}")


@dead_letters.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_filtered
@click.option("--all", "everything", is_flag=True, help="All of them.")
def requeue(*, ids: tuple[str, ...], everything: bool, **chosen: str | None) -> None:
    """Put them back into their queues, once each, to be tried as if they were new."""
    wanted = _checked(ids, everything, chosen)
    with _store() as store:
        done, gone = _each(store, ids, wanted, store.requeue)
        click.echo(f"{done} requeued" + (f", {gone} were gone already" if gone else ""))


@dead_letters.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_filtered
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(*, ids: tuple[str, ...], everything: bool, yes: bool, **chosen: str | None) -> None:
    """Remove them for good. `export` them first to be able to bring them back."""
    wanted = _checked(ids, everything, chosen)
    with _store() as store:
        if not yes:
            count = len(ids) or sum(1 for _ in store.find(wanted))
            if not click.confirm(f"Remove {count} dead letters for good?", err=True):
                _fail("nothing was removed")
        done, gone = _each(store, ids, wanted, store.discard)
        click.echo(f"{done} discarded" + (f", {gone} were gone already" if gone else ""))


@dead_letters.command()
@_filtered
@click.option("-o", "--output", type=click.File("w"), default="-", help="A file; default: stdout.")
def export(*, output: TextIO, **chosen: str | None) -> None:
    """Write them with their messages, a line of JSON each. They stay where they are."""
    wanted = _wanted(chosen)
    with _store() as store:
        count = 0
        for line in store.export(wanted):
            output.write(f"{line}\n")
            count += 1
        click.echo(f"{count} exported", err=True)


@dead_letters.command("import")
@click.argument("file", type=click.File("r"))
def import_letters(file: TextIO) -> None:
    """Read what `export` wrote (-: stdin). Letters that are there already are left as they are."""
    from workerpool_worker.messages.dead_letters import ImportLineError, imported

    with _store() as store:
        put = there = 0
        try:
            for letter, message in imported(file):
                if store.put(letter, message):
                    put += 1
                else:
                    there += 1
        except ImportLineError as error:
            _fail(f"{file.name}: {error}; {put} letters before it were imported")
        except UnicodeDecodeError as error:
            _fail(f"{file.name} is not UTF-8: {error}; {put} letters before it were imported")
        click.echo(f"{put} imported" + (f", {there} were there already" if there else ""))


@contextmanager
def _store() -> Iterator[DeadLetters]:
    """The letters of the broker; what goes wrong with it ends the command with one line."""
    from redis.exceptions import RedisError

    from workerpool_worker.broker.connect import client_for
    from workerpool_worker.broker.errors import reason
    from workerpool_worker.commands.common import settings_or_fail
    from workerpool_worker.messages.dead_letters import DeadLetters

    settings = settings_or_fail()
    client = client_for(settings)
    try:
        yield DeadLetters(client)
    except (RedisError, OSError) as error:
        _fail(f"cannot use Redis at {settings.broker}: {reason(error, settings.broker)}; check WORKERPOOL_BROKER_URL")
    finally:
        client.close()


def _wanted(chosen: dict[str, str | None]) -> Filter:
    from workerpool_worker.messages.dead_letters import Filter
    from workerpool_worker.runtime.retry import seconds_of

    times: dict[str, float | None] = {}
    for name in ("since", "until"):
        age = chosen[name]
        try:
            times[name] = None if age is None else time.time() - seconds_of(age)
        except ValueError as error:
            _fail(f"--{name}: {error}", 2)
    return Filter(queue=chosen["queue"], task=chosen["task"], error=chosen["error"], **times)


def _checked(ids: tuple[str, ...], everything: bool, chosen: dict[str, str | None]) -> Filter:
    """What was asked for, if it is clear."""
    filters = [name for name in _FILTERS if chosen[name] is not None]
    if ids and (everything or [name for name in filters if name != "queue"]):
        _fail("name ids, or choose by options: not both", 2)
    if not ids and not filters and not everything:
        _fail("which ones? Name ids, choose by --queue, --task, --error, --since, --until, or say --all", 2)
    return _wanted(chosen)


def _each(store: DeadLetters, ids: tuple[str, ...], wanted: Filter, act: Callable[[Letter], bool]) -> tuple[int, int]:
    """Do it with each of them; how many it was done with, and how many were gone."""
    letters = [_one(store, name, wanted.queue) for name in ids] if ids else list(store.find(wanted))
    done = 0
    hidden = not sys.stderr.isatty()
    with click.progressbar(letters, file=sys.stderr, hidden=hidden) as bar:
        for letter in bar:
            done += act(letter)
    return done, len(letters) - done


def _one(store: DeadLetters, letter_id: str, queue: str | None) -> Letter:
    found = [letter for letter in store.named(letter_id) if queue in {None, letter.queue}]
    if not found:
        _fail(f"no dead letter {letter_id}; `dead-letters list` shows what is there")
    if len(found) > 1:
        queues = ", ".join(letter.queue for letter in found)
        _fail(f"{letter_id} is in several queues ({queues}): name one with --queue", 2)
    return found[0]


def _table(letters: list[Letter]) -> None:
    head = ("ID", "QUEUE", "TASK", "DIED", "TRIES", "ERROR")
    rows = [head, *(_row(letter) for letter in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        click.echo("  ".join([*(row[column].ljust(widths[column]) for column in range(5)), row[5]]).rstrip())


def _row(letter: Letter) -> tuple[str, ...]:
    text = " ".join(f"{letter.error}: {letter.text}".split())
    short = text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
    return letter.id, letter.queue, letter.task or "-", _ago(letter.died_at), str(letter.attempts), short


def _described(letter: Letter) -> Iterator[tuple[str, object]]:
    yield "id", letter.id
    yield "job", letter.job_id or "none: the message is no job"
    yield "task", letter.task or "-"
    yield "queue", letter.queue
    yield "error", f"{letter.error}: {letter.text}"
    lost = f", {letter.losses} of them ended with the worker or child" if letter.losses else ""
    yield "tries", f"{letter.attempts}{lost}"
    if letter.enqueued_at is not None:
        yield "sent", f"{_clock(letter.enqueued_at)} ({_ago(letter.enqueued_at)})"
    yield "died", f"{_clock(letter.died_at)} ({_ago(letter.died_at)})"
    yield "correlation", letter.correlation_id or "-"
    yield "size", f"{letter.size_bytes:,} bytes"


def _arguments(raw: bytes) -> Any:
    """The task's keyword arguments; None where the message has none that can be read."""
    import base64

    try:
        body = json.loads(raw)["body"]
        return json.loads(base64.b64decode(body))[1]
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _ago(moment_s: float) -> str:
    age_s = max(time.time() - moment_s, 0.0)
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f}{unit} ago"
    return f"{age_s:.0f}s ago"


def _clock(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment_s))


def _fail(text: str, status: int = 1) -> NoReturn:
    from workerpool_worker.commands.common import fail

    fail(text, status)
