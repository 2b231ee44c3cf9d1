"""Traces that are made up: each is a rate over time, and arrivals are a Poisson process of that rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from workerpool_operator.simulate.calls import Call, parse_call
from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.traces import Trace

_STEPS_A_PERIOD = 288
_WINDOWS_MAX = 1_000_000
Windows = tuple[tuple[float, float, float], ...]


def synthetic(text: str) -> Trace:
    """Make a trace from its description.

    ``poisson(rate,hours)``; ``bursts(rate,on,off,hours)``: ``rate`` for ``on`` seconds, nothing for ``off``;
    ``flash(rate,factor,lasting,hours)``: a crowd of ``factor`` times the rate for ``lasting`` seconds, after a third of
    the time; ``daynight(low,high,period,hours)``: a sine between two rates, beginning at its lowest. Rates are jobs a
    second.

    Raises:
        SimulateError: it is none of these, or its numbers make no load.
    """
    call = parse_call(text, "--trace")
    maker = _MAKERS.get(call.name)
    if maker is None:
        raise SimulateError(f"--trace: there is no trace {call.name!r}; take a file or one of {', '.join(NAMES)}")
    windows = maker(call)
    duration_s = windows[-1][0] + windows[-1][1]
    if any(jobs < 0 for _, _, jobs in windows):
        raise SimulateError(f"--trace: {text!r}: a rate is below 0")
    return Trace(name=text, windows=windows, duration_s=duration_s)


def _numbers(call: Call, order: tuple[str, ...], optional: dict[str, float]) -> dict[str, float]:
    values = call.numbers(order, optional=optional)
    for name in values.keys() - {"low", "rate"}:
        if values[name] <= 0:
            raise SimulateError(f"--trace: {call.text!r}: {name} must be above 0")
    if values["hours"] > 24 * 3660:
        raise SimulateError(f"--trace: {call.text!r}: that is more than ten years")
    return values


def _poisson(call: Call) -> Windows:
    values = _numbers(call, ("rate", "hours"), {"hours": 1.0})
    return ((0.0, values["hours"] * 3600, values["rate"] * values["hours"] * 3600),)


def _bursts(call: Call) -> Windows:
    values = _numbers(call, ("rate", "on", "off", "hours"), {"on": 60.0, "off": 240.0, "hours": 1.0})
    on, period, end = values["on"], values["on"] + values["off"], values["hours"] * 3600
    if end / period > _WINDOWS_MAX:
        raise SimulateError(f"--trace: {call.text!r}: these are too many bursts")
    found = []
    for number in range(math.ceil(end / period)):
        begin = number * period
        length = min(on, end - begin)
        found.append((begin, length, values["rate"] * length))
    return (*found, (end, 0.0, 0.0))


def _flash(call: Call) -> Windows:
    values = _numbers(call, ("rate", "factor", "lasting", "hours"), {"factor": 50.0, "lasting": 60.0, "hours": 1.0})
    end, rate, lasting = values["hours"] * 3600, values["rate"], values["lasting"]
    begin = end / 3
    if lasting >= end - begin:
        raise SimulateError(f"--trace: {call.text!r}: the crowd lasts longer than the trace")
    rest = end - begin - lasting
    crowd = rate * values["factor"] * lasting
    return (0.0, begin, rate * begin), (begin, lasting, crowd), (begin + lasting, rest, rate * rest)


def _daynight(call: Call) -> Windows:
    optional = {"period": 86_400.0, "hours": 24.0}
    values = _numbers(call, ("low", "high", "period", "hours"), optional)
    end, period = values["hours"] * 3600, values["period"]
    length = period / _STEPS_A_PERIOD
    if end / length > _WINDOWS_MAX:
        raise SimulateError(f"--trace: {call.text!r}: these are too many periods")
    middle, half = (values["high"] + values["low"]) / 2, (values["high"] - values["low"]) / 2
    steps = range(math.ceil(end / length))
    rates = [middle - half * math.cos(2 * math.pi * (step + 0.5) / _STEPS_A_PERIOD) for step in steps]
    return tuple((step * length, length, rate * length) for step, rate in zip(steps, rates, strict=True))


_MAKERS: dict[str, Callable[[Call], Windows]] = {
    "poisson": _poisson,
    "bursts": _bursts,
    "flash": _flash,
    "daynight": _daynight,
}
NAMES = tuple(_MAKERS)
