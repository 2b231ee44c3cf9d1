"""Distributions have the means they say, and nonsense is refused in one line."""

from __future__ import annotations

import random
import statistics

import pytest

from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.services import lengths

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "mean_s"),
    [
        ("2", 2.0),
        ("fixed(90s)", 90.0),
        ("fixed(2m)", 120.0),
        ("exponential(mean=2)", 2.0),
        ("lognormal(mean=2,cv=1)", 2.0),
        ("lognormal(2, 0.5)", 2.0),
        ("uniform(low=1,high=3)", 2.0),
        ("pareto(mean=2,alpha=3)", 2.0),
        ("mix(fixed(1),90,fixed(30),10)", 3.9),
        ("drift(fixed(1),from=1,to=10)", 9 / 2.302585),
    ],
)
def test_mean(text: str, mean_s: float) -> None:
    made, rng = lengths(text, "--job-seconds"), random.Random(1)
    assert made.mean_s == pytest.approx(mean_s)
    drawn = [made.draw(rng, n / 40_000) for n in range(40_000)]
    assert statistics.fmean(drawn) == pytest.approx(mean_s, rel=0.05)
    assert min(drawn) >= made.least_s


def test_spread_of_a_lognormal() -> None:
    made, rng = lengths("lognormal(mean=2,cv=0.5)", "x"), random.Random(1)
    drawn = [made.draw(rng, 0.0) for _ in range(40_000)]
    assert statistics.pstdev(drawn) / statistics.fmean(drawn) == pytest.approx(0.5, rel=0.05)


def test_drift_goes_tenfold_over_the_run() -> None:
    draw, rng = lengths("drift(fixed(2),from=1,to=10)", "x").draw, random.Random(1)
    assert [draw(rng, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 2 * 10**0.5, 20.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name"),
        ("0", "must be above 0"),
        ("-1", "must be above 0"),
        ("nan", "must be above 0"),
        ("inf", "must have a mean above 0"),
        ("gauss(mean=1)", "there is no distribution 'gauss'"),
        ("lognormal(cv=1)", "needs mean"),
        ("lognormal(mean=2,cv=1,sd=3)", "takes mean, cv"),
        ("lognormal(mean=2,mean=3)", "given twice"),
        ("lognormal(mean=2;cv=1)", "cannot be read from ';cv=1"),
        ("lognormal(mean=2,cv=1))", "expected the end"),
        ("pareto(mean=2,alpha=1)", "alpha must be above 1"),
        ("uniform(low=3,high=1)", "low must not be above high"),
        ("mix(fixed(1))", "mix takes pairs"),
        ("mix(1,fixed(1))", "mix takes a distribution and its weight"),
        ("drift(from=1,to=2)", "drift needs what drifts"),
        ("drift(" * 30 + "fixed(1)" + ")" * 30, "nested too deeply"),
        ("fixed(1e999)", "too large"),
    ],
)
def test_nonsense_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SimulateError) as caught:
        lengths(text, "--job-seconds")
    assert message in str(caught.value)
    assert str(caught.value).startswith("--job-seconds: ") or "lognormal(" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
