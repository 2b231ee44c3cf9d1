"""An explanation as text: what was decided, the numbers that went in, the rules one by one, what came of it. Pure.

It reads the JSON object of :mod:`~workerpool_operator.report.explain` and nothing else, so that it shows a decision of
this process, of an operator far away and of a log in the same way.
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workerpool_operator.report.humanise import clock, count, duration, one_line, plural, printable

Json = Mapping[str, Any]
Line = tuple[tuple[str, str], ...]
"""Pairs of text and style, as in :mod:`~workerpool_operator.report.screen`."""

NARROWEST = 60
_LEAST_MESSAGE = 30
_SOME = 8
_UNIX_S = 1e9
"""Seconds above this are a moment, not a length of time."""
_REST_TOLD_S = 1.5
_LATE_S = 15.0
"""A change of size, during which nothing is decided, may take so long."""
_DATED_S = 12 * 3600
_FIXED_SPACE = "\u00a0"
_BAD = frozenset({"BrokerUnreadable", "Fallback", "Failed", "Conflict"})


def render(explained: Json, *, width: int, asked: str = "", zone: dt.tzinfo | None = None) -> list[Line]:
    """The explanation as lines of styled text, none longer than ``width`` where words allow.

    Args:
        explained: The JSON object.
        width: How many columns there are.
        asked: Who told it, for the head.
        zone: The time zone of times of day, local time when None.
    """
    width = max(width, NARROWEST)
    lines = [*_head(explained, width, asked, zone)]
    for title, rows in (
        ("What went in", _seen(explained)),
        ("Learnt by watching", _learnt(explained, zone)),
        ("Asked for", _asked_for(explained)),
    ):
        if rows:
            lines += [(), ((title, "bold"),), *_section(rows, width)]
    lines += [(), (("Rule by rule", "bold"),), *_rules(explained, width)]
    lines += [(), (("What came of it", "bold"),), *_section(_after(explained, zone), width)]
    return [tuple((printable(text), style) for text, style in line) for line in lines]


# -- the head


def _head(explained: Json, width: int, asked: str, zone: dt.tzinfo | None) -> Iterator[Line]:
    decision, pool = explained["decision"], explained["pool"]
    size = _size(decision["current"], decision["target"])
    noun = "replica" if decision["target"] == 1 else "replicas"
    style = "bold red" if decision["reason"] in _BAD else "bold cyan"
    name = f"{one_line(pool['namespace'])}/{one_line(pool['name'])}"
    yield ((f"{name}: {size} {noun}  ", "bold"), (decision["reason"], style))
    yield from (((part, ""),) for part in _wrap(decision["message"], width))
    when = f"decided at {_moment(explained, zone)}, {duration(explained['ageSeconds'])} ago"
    rest_s = explained["next"]["restSeconds"]
    if rest_s and explained["ageSeconds"] > _REST_TOLD_S:
        when += f"; a pool at rest at zero is decided every {duration(rest_s)}"
    if asked:
        when += f"; told by {asked}"
    yield from (((part, "dim"),) for part in _wrap(when, width))
    again_s = rest_s or explained["next"]["lookAgainSeconds"]
    if again_s and explained["ageSeconds"] > _LATE_S + 3 * again_s:
        late = f"! this is late: it should be decided every {_precise(again_s)}; the pool's status and the log say why"
        yield from (((part, "bold red"),) for part in _wrap(late, width))


def _moment(then: Json, zone: dt.tzinfo | None) -> str:
    time_s = then["time"]
    if then["ageSeconds"] < _DATED_S:
        return clock(time_s, zone)
    return f"{dt.datetime.fromtimestamp(time_s, tz=dt.UTC).astimezone(zone):%Y-%m-%d} {clock(time_s, zone)}"


# -- the numbers


def _seen(explained: Json) -> list[tuple[str, str]]:
    rows = [(f"queue {one_line(queue['name'])}", _queue(queue)) for queue in explained["queues"] or ()]
    if len(rows) != 1:
        totals = explained["totals"]
        rows.append(("all queues" if rows else "queues", _queue({**totals, "unavailable": None})))
    held = explained["inFlight"]
    if held is None:
        totals = explained["totals"]
        rows.append(("jobs", f"{count(totals['running'])} running, {count(totals['scheduled'])} scheduled"))
        rows.append(("", "the log holds no more of what went in"))
        return rows
    rows.append(("jobs", _unreadable(held["unavailable"]) if held["unavailable"] else _held(held)))
    rows.append(("replicas", _replicas(explained["replicas"])))
    rows += [
        (f"schedule {one_line(schedule['name'])}", f"in force: minReplicas {schedule['minReplicas']}")
        for schedule in explained["schedules"]
    ]
    if explained["budget"]:
        rows.append(("budget", explained["budget"]["text"]))
    return rows


def _queue(queue: Json) -> str:
    if queue["unavailable"]:
        return _unreadable(queue["unavailable"])
    oldest_s = queue["oldestJobSeconds"]
    return f"{count(queue['ready'])} ready" + ("" if oldest_s is None else f", the oldest waits {duration(oldest_s)}")


def _unreadable(why: Json) -> str:
    return f"? {why['cause']}: {why['message']}"


def _held(held: Json) -> str:
    parts = [f"{count(held['running'])} running"]
    if held["runningOnLeaving"]:
        parts[0] += f" ({count(held['runningOnLeaving'])} on replicas that are leaving)"
    due = held["soonestDueSeconds"]
    parts.append(f"{count(held['scheduled'])} scheduled" + (f" (the next due in {duration(due[0])})" if due else ""))
    parts.append(f"{count(held['stranded'])} stranded")
    return ", ".join(parts)


def _replicas(replicas: Json) -> str:
    text = f"{replicas['current']} asked for last, {replicas['ready']} ready, {count(replicas['busy'])} busy"
    text += f", {replicas['leaving']} leaving"
    return text + (" (they take nothing more)" if replicas["leaving"] and replicas["drains"] else "")


def _learnt(explained: Json, zone: dt.tzinfo | None) -> list[tuple[str, str]]:
    if explained["learnt"] is None:
        return []
    learnt = [(path, value) for path, value in _leaves(explained["learnt"]) if value != explained["time"]]
    rows = [_measure(path, value, zone) for path, value in learnt]
    for way, wishes in explained["windows"].items():
        said = [f"{wish['replicas']} ({duration(wish['agoSeconds'])} ago)" for wish in wishes[:_SOME]]
        more = f" and {len(wishes) - _SOME} more" if len(wishes) > _SOME else ""
        rows.append((f"window {way}", (", ".join(said) or "empty") + more))
    return rows


def _measure(path: str, value: object, zone: dt.tzinfo | None) -> tuple[str, str]:
    seconds = path.endswith("Seconds")
    label = _words(path.removesuffix("Seconds"))
    if value is None:
        return label, "-"
    if isinstance(value, list):
        return label, _numbers(value)
    if seconds and isinstance(value, int | float):
        return label, clock(value, zone) if value > _UNIX_S else _precise(value)
    return label, _number(value)


def _asked_for(explained: Json) -> list[tuple[str, str]]:
    if explained["spec"] is None:
        return []
    said = [f"{path}: {_number(value)}" for path, value in _leaves(explained["spec"]) if value not in (None, False)]
    return [("", ", ".join(pair.replace(" ", _FIXED_SPACE) for pair in said))]


def _leaves(value: Json, path: str = "") -> Iterator[tuple[str, Any]]:
    """The innermost values, each with the names that lead to it."""
    for name, inner in value.items():
        full = f"{path}.{name}" if path else name
        if isinstance(inner, Mapping):
            yield from _leaves(inner, full)
        else:
            yield full, inner


def _words(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: " " + match[1].lower(), name).replace(".", " ")


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - no powers of ten
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))


def _numbers(values: Sequence[object]) -> str:
    numbers = [_number(value) for value in values if isinstance(value, int | float)]
    if len(values) > _SOME or len(numbers) < len(values):
        return plural(len(values), "value")
    return ", ".join(numbers) or "none"


def _precise(seconds: float) -> str:
    return f"{seconds:.2g} s" if 0 < seconds < 1 else duration(seconds)


# -- the rules


def _rules(explained: Json, width: int) -> Iterator[Line]:
    rules = explained["rules"]
    if rules is None:
        yield (("  this line of the log was written without the rules", "dim"),)
        return
    sizes = {rule["rule"]: _size(rule["before"], rule["after"]) for rule in rules}
    columns = (
        max(len(name) for name in sizes),
        max(len("replicas"), *(len(size) for size in sizes.values())),
        max(len("reason"), *(len(rule["reason"] or "") for rule in rules)),
    )
    begin = 2 + sum(columns) + 2 * len(columns)
    room = width - begin
    below = room < _LEAST_MESSAGE
    title = _cells(("rule", "replicas", "reason"), columns) + ("" if below else "message")
    yield ((title.rstrip(), "dim"),)
    for rule in rules:
        head = _cells((rule["rule"], sizes[rule["rule"]], rule["reason"] or "-"), columns)
        if not rule["changed"]:
            yield ((head.rstrip(), "dim"),)
            continue
        parts = _wrap(rule["message"], width - 6 if below else room)
        if below:
            yield ((head.rstrip(), _rule_style(rule)),)
            yield from (((" " * 6 + part, ""),) for part in parts)
        else:
            yield ((head, _rule_style(rule)), (parts[0], ""))
            yield from (((" " * begin + part, ""),) for part in parts[1:])


def _rule_style(rule: Json) -> str:
    return "red" if rule["reason"] in _BAD else "cyan"


def _cells(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "".join(f"{text:<{width}}  " for text, width in zip(texts, widths, strict=True))


def _size(before: int, after: int) -> str:
    return f"{after}" if before == after else f"{before} -> {after}"


# -- what came of it


def _after(explained: Json, zone: dt.tzinfo | None) -> list[tuple[str, str]]:
    decision, outcome, coming = explained["decision"], explained["outcome"], explained["next"]
    rows = []
    if outcome is not None:
        rows.append(("outcome", outcome["kind"] + (f": {outcome['message']}" if outcome["message"] else "")))
    wanted = decision["demandReplicas"]
    if wanted is not None and wanted != decision["target"]:
        rows.append(("the work asked", f"for {plural(wanted, 'replica')}"))
    if decision["limits"]:
        rows.append(("limited by", ", ".join(decision["limits"])))
    change = explained["lastChange"]
    if change is not None and change["time"] != explained["time"]:
        when = f"{_moment(change, zone)}, {duration(change['ageSeconds'])} ago"
        size = _size(change["current"], change["target"])
        rows.append(("last change", f"{size} at {when}: {change['reason']}: {change['message']}"))
    rows.append(("what comes next", coming["hint"]))
    if coming["restSeconds"]:
        rows.append(("", "its queues are read all the time; any work wakes it"))
    elif coming["lookAgainSeconds"]:
        rows.append(("", f"it is decided again within {_precise(coming['lookAgainSeconds'])}"))
    return rows


# -- lines


def _section(rows: Sequence[tuple[str, str]], width: int) -> Iterator[Line]:
    """Rows of a label and a text; the texts begin in one column, labels too long for it have a line of their own."""
    fitting = [len(label) for label, _ in rows if len(label) <= width // 3]
    column = max(fitting, default=0)
    gap = 2 if column else 0
    for label, text in rows:
        first, *more = _wrap(text, width - 2 - column - gap)
        bad = "red" if text.startswith("? ") or text.partition(":")[0] in _BAD else ""
        if len(label) > column:
            yield ((f"  {label}", "dim"),)
            label = ""  # noqa: PLW2901 - what is left of it to print
        yield ((f"  {label:<{column + gap}}", "dim"), (first, bad))
        yield from (((" " * (2 + column + gap) + part, bad),) for part in more)


def _wrap(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(one_line(text), width, break_on_hyphens=False) or [""]
    return [line.replace(_FIXED_SPACE, " ") for line in lines]
