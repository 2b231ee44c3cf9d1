"""How long jobs run and replicas take to start: distributions, described as ``lognormal(mean=2,cv=1)``.

A description becomes a :data:`Draw`: a function of a random generator and of how far the run is (0 at its beginning, 1
at its end), so that lengths may drift.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workerpool_operator.simulate.calls import Call, parse_call
from workerpool_operator.simulate.errors import SimulateError

Draw = Callable[[random.Random, float], float]
"""Seconds, drawn with a generator at a share of the run (0..1)."""

SHORTEST_S = 1e-6
"""No job and no start takes less: time must go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """A distribution with its mean in seconds (over the whole run, where it drifts) and the least it can give."""

    draw: Draw
    mean_s: float
    text: str
    least_s: float = 0.0


def lengths(text: str, what: str) -> Lengths:
    """Read the description of a distribution; a bare number is ``fixed``. ``what`` names the option in messages.

    Known are ``fixed(s)``, ``exponential(mean)``, ``lognormal(mean,cv)`` (cv: standard deviation / mean),
    ``uniform(low,high)``, ``pareto(mean,alpha)`` (alpha > 1; heavy-tailed up to 2), ``drift(of,from,to)`` (the lengths
    of another one, times a factor that goes geometrically from one value to the other over the run), and
    ``mix(one,share,other,...)`` with shares that are weights.

    Raises:
        SimulateError: it cannot be read, or its numbers make no distribution.
    """
    plain = text.strip()
    try:
        call = Call(name="fixed", plain=(float(plain),), text=plain)
    except ValueError:
        call = parse_call(plain, what)
    made = _make(call, what)
    if not (math.isfinite(made.mean_s) and made.mean_s > 0):
        raise SimulateError(f"{what}: {text!r} must have a mean above 0")
    return replace(made, text=plain)


def _make(call: Call, what: str) -> Lengths:
    maker = _MAKERS.get(call.name)
    if maker is None:
        raise SimulateError(f"{what}: there is no distribution {call.name!r}; take one of {', '.join(_MAKERS)}")
    try:
        return maker(call, what)
    except (OverflowError, ZeroDivisionError):
        raise SimulateError(f"{what}: {call.text!r}: these numbers make no distribution") from None


def _positive(values: dict[str, float], what: str, text: str, *names: str) -> None:
    for name in names:
        if not values[name] > 0:
            raise SimulateError(f"{what}: {text!r}: {name} must be above 0")


def _fixed(call: Call, what: str) -> Lengths:
    values = call.numbers(("s",))
    _positive(values, what, call.text, "s")
    s = values["s"]
    return Lengths(draw=lambda _rng, _share: s, mean_s=s, text=call.text, least_s=s)


def _exponential(call: Call, what: str) -> Lengths:
    values = call.numbers(("mean",))
    _positive(values, what, call.text, "mean")
    rate = 1 / values["mean"]
    return Lengths(draw=lambda rng, _share: rng.expovariate(rate), mean_s=values["mean"], text=call.text)


def _lognormal(call: Call, what: str) -> Lengths:
    """Its parameters from mean and coefficient of variation: sigma² = ln(1 + cv²), mu = ln(mean) - sigma²/2."""
    values = call.numbers(("mean", "cv"), optional={"cv": 1.0})
    _positive(values, what, call.text, "mean")
    variance = math.log1p(values["cv"] ** 2)
    mu, sigma = math.log(values["mean"]) - variance / 2, math.sqrt(variance)
    return Lengths(draw=lambda rng, _share: rng.lognormvariate(mu, sigma), mean_s=values["mean"], text=call.text)


def _uniform(call: Call, what: str) -> Lengths:
    values = call.numbers(("low", "high"))
    low, high = values["low"], values["high"]
    if not 0 <= low <= high:
        raise SimulateError(f"{what}: {call.text!r}: low must not be above high")
    middle = (low + high) / 2
    return Lengths(draw=lambda rng, _share: rng.uniform(low, high), mean_s=middle, text=call.text, least_s=low)


def _pareto(call: Call, what: str) -> Lengths:
    """Pareto of type I: its mean is ``scale x alpha / (alpha - 1)``, which gives the scale."""
    values = call.numbers(("mean", "alpha"), optional={"alpha": 1.5})
    _positive(values, what, call.text, "mean")
    alpha = values["alpha"]
    if alpha <= 1:
        raise SimulateError(f"{what}: {call.text!r}: alpha must be above 1, or there is no mean")
    scale = values["mean"] * (alpha - 1) / alpha
    return Lengths(draw=lambda rng, _share: scale * rng.paretovariate(alpha), mean_s=values["mean"], text=call.text)


def _drift(call: Call, what: str) -> Lengths:
    parts = [*call.plain, *(value for name, value in call.named.items() if name == "of")]
    inner = next((part for part in parts if isinstance(part, Call)), None)
    if inner is None or isinstance(inner, float):
        raise SimulateError(
            f"{what}: {call.text!r}: drift needs what drifts: drift(lognormal(mean=1,cv=1),from=1,to=10)"
        )
    rest = Call(
        name="drift",
        plain=tuple(part for part in call.plain if part is not inner),
        named={name: value for name, value in call.named.items() if name != "of"},
        text=call.text,
    )
    values = rest.numbers(("from", "to"), optional={"from": 1.0, "to": 10.0})
    _positive(values, what, call.text, "from", "to")
    base, begin, ratio = _make(inner, what), values["from"], values["to"] / values["from"]
    mean_factor = begin * ((ratio - 1) / math.log(ratio) if ratio != 1 else 1.0)

    def draw(rng: random.Random, share: float) -> float:
        return begin * float(ratio**share) * base.draw(rng, share)

    return Lengths(draw=draw, mean_s=base.mean_s * mean_factor, text=call.text)


def _mix(call: Call, what: str) -> Lengths:
    kinds, weights = call.plain[::2], call.plain[1::2]
    if call.named or not kinds or len(kinds) != len(weights):
        raise SimulateError(f"{what}: {call.text!r}: mix takes pairs: mix(fixed(1),90,lognormal(mean=30,cv=1),10)")
    parts, shares = [], []
    for kind, weight in zip(kinds, weights, strict=True):
        if not isinstance(kind, Call) or isinstance(weight, Call) or weight <= 0:
            raise SimulateError(f"{what}: {call.text!r}: mix takes a distribution and its weight, in turns")
        parts.append(_make(kind, what))
        shares.append(weight)
    return _mixed(parts, shares, call.text)


def _mixed(parts: Sequence[Lengths], weights: Sequence[float], text: str) -> Lengths:
    draws, total = [part.draw for part in parts], sum(weights)

    def draw(rng: random.Random, share: float) -> float:
        return float(rng.choices(draws, weights)[0](rng, share))

    mean_s = sum(part.mean_s * weight for part, weight in zip(parts, weights, strict=True)) / total
    return Lengths(draw=draw, mean_s=mean_s, text=text)


_MAKERS: dict[str, Callable[[Call, str], Lengths]] = {
    "fixed": _fixed,
    "exponential": _exponential,
    "lognormal": _lognormal,
    "uniform": _uniform,
    "pareto": _pareto,
    "drift": _drift,
    "mix": _mix,
}
