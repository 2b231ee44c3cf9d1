"""Traces from files of every kind, made-up ones, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.load import make_load
from workerpool_operator.simulate.services import Lengths, lengths
from workerpool_operator.simulate.traces import Trace, load_trace

pytestmark = pytest.mark.unit

JOB = lengths("fixed(1)", "jobs")


def file(folder: Path, text: str, name: str = "load.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,value\n2014-04-10 00:00:00,3\n2014-04-10 00:05:00,0\n2014-04-10 00:10:00,2\n",
        "time,count\n1397088000,3\n1397088300,0\n1397088600,2\n",
        "1397088000000,3\n1397088300000,0\n1397088600000,2\n",
        "value,region,timestamp\n0,eu,2014-04-10T00:05:00Z\n3,eu,2014-04-10T00:00:00Z\n2,eu,2014-04-10T02:10:00+02:00\n",
    ],
)
def test_counts_by_time(tmp_path: Path, text: str) -> None:
    trace = load_trace(file(tmp_path, text))
    assert trace.windows == ((0.0, 300.0, 3.0), (300.0, 300.0, 0.0), (600.0, 300.0, 2.0))
    assert (trace.begin_s, trace.duration_s, trace.exact) == (1_397_088_000.0, 900.0, True)


def test_one_arrival_a_line(tmp_path: Path) -> None:
    trace = load_trace(file(tmp_path, "arrival\n1000.5\n1003\n1001\n"))
    assert trace.moments == (0.0, 0.5, 2.5)
    assert make_load(trace, JOB, seed=1).arrivals_s == [0.0, 0.5, 2.5]


def test_silence_between_rows_stays_silent(tmp_path: Path) -> None:
    trace = load_trace(file(tmp_path, "0,5\n60,5\n120,5\n3600,5\n"))
    assert trace.windows[2] == (120.0, 60.0, 5.0)
    assert trace.duration_s == 3_660.0


def test_counts_without_times_need_a_window(tmp_path: Path) -> None:
    trace = load_trace(file(tmp_path, "count\n4\n6\n"))
    assert trace.replayed(window_s=10).windows == ((0.0, 10.0, 4.0), (10.0, 10.0, 6.0))
    with pytest.raises(SimulateError, match="--window-seconds"):
        trace.replayed()


@pytest.mark.parametrize("text", ["arrival\n1000.5\n1003\n", "poisson(rate=1)"])
def test_what_has_no_rows_has_no_windows(tmp_path: Path, text: str) -> None:
    with pytest.raises(SimulateError, match="a count in each row"):
        load_trace(file(tmp_path, text) if "\n" in text else text).replayed(window_s=10)


def test_beginning_of_a_trace_is_cut_in_the_middle_of_a_window(tmp_path: Path) -> None:
    trace = load_trace(file(tmp_path, "0,10\n60,20\n120,7\n")).first(90)
    assert (trace.windows, trace.duration_s) == (((0.0, 60.0, 10.0), (60.0, 30.0, 10.0)), 90)


def test_replay_is_faster_and_stronger(tmp_path: Path) -> None:
    trace = load_trace(file(tmp_path, "0,10\n300,30\n"))
    assert trace.replayed(speedup=50).windows == ((0.0, 6.0, 10.0), (6.0, 6.0, 30.0))
    assert trace.replayed(window_s=6).windows == trace.replayed(speedup=50).windows
    assert trace.replayed(scale=0.5).jobs == 20
    assert trace.replayed(window_s=6, rate=5).rate == pytest.approx(5)
    assert not trace.replayed(scale=0.5).exact


def test_counted_jobs_are_kept_to_the_last(tmp_path: Path) -> None:
    load = make_load(load_trace(file(tmp_path, "0,10\n60,0\n120,7\n")), JOB, seed=1)
    assert sum(1 for at in load.arrivals_s if at < 60) == 10
    assert sum(1 for at in load.arrivals_s if at >= 120) == 7


def decision(at: float, ready: int | None, running: int | None, pool: str = "email") -> str:
    return json.dumps({"time": at, "pool": pool, "ready": ready, "running": running, "target": 1})


def test_log_of_decisions_gives_back_its_arrivals(tmp_path: Path) -> None:
    # 1 job a second of 2 s: after the start 2 run all the time, so what came and went is seen by what runs
    lines = [decision(0, 0, 0), decision(1, 0, 1), *(decision(at, 0, 2) for at in range(2, 100))]
    trace = load_trace(file(tmp_path, "\n".join(lines), "decisions.jsonl"), pool="email", mean_job_s=2.0)
    assert trace.jobs == pytest.approx(100, abs=3)


def test_log_passes_over_what_was_unknown(tmp_path: Path) -> None:
    lines = [decision(0, 0, 0), decision(1, None, None), decision(2, 7, 0), decision(3, 7, 0, "other")]
    trace = load_trace(file(tmp_path, "\n".join(lines), "decisions.jsonl"), pool="email", mean_job_s=2.0)
    assert trace.jobs == 7


def prometheus(*series: dict[str, object], kind: str = "matrix") -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": list(series)}})


def test_prometheus_counter_with_a_restart(tmp_path: Path) -> None:
    text = prometheus(
        {"metric": {"__name__": "jobs_total", "pod": "a"}, "values": [[0, "10"], [60, "15"], [120, "2"]]},
        {"metric": {"__name__": "jobs_total", "pod": "b"}, "values": [[0, "0"], [60, "1"], [120, "1"]]},
    )
    assert load_trace(file(tmp_path, text, "range.json")).windows == ((0.0, 60.0, 6.0), (60.0, 60.0, 2.0))


def test_prometheus_rate(tmp_path: Path) -> None:
    text = prometheus({"metric": {}, "values": [[0, "0.5"], [60, "2"], [120, "0"]]})
    assert load_trace(file(tmp_path, text, "range.json")).windows == ((0.0, 60.0, 30.0), (60.0, 60.0, 120.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,value\n2014-04-10 00:00:00,3\nyesterday,4\n", "load.csv:3: 'yesterday' is no time"),
        ("timestamp,value\n2014-04-10 00:00:00,many\n", "load.csv:2: 'many' is no number of jobs"),
        ("timestamp,value\n2014-04-10 00:00:00,-1\n", "load.csv:2: '-1' is no number of jobs"),
        ("timestamp,value\n2014-04-10 00:00:00,nan\n", "load.csv:2: 'nan' is no number of jobs"),
        ("timestamp,value\n2014-04-10 00:00:00\n", "load.csv:2: '' is no number of jobs"),
        ("0,1\n60,2\n2026-13-01,4\n", "load.csv:3: '2026-13-01' is no time"),
        ("timestamp,value\n", "load.csv: there is no row below the header"),
        ("a,b,c\n1,2,3\n", "load.csv:1: 3 columns; say with a header"),
        ("timestamp,b,c\n1,2,3\n", "load.csv:1: name a column"),
        ("  \n", "load.csv: the file is empty"),
        ('{"time": 1}\n', "load.csv:1: this is no decision"),
        ('{"time": 1, "pool": "a", "ready": 1, "running": 1}\n{"time"\n', "load.csv:2: this line is not JSON"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "this is no range"),
        ('{"data": {"resultType": "matrix", "result": [{"values": 3}]}}', "not what Prometheus answers"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SimulateError) as caught:
        load_trace(file(tmp_path, text))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_gauge_is_no_trace(tmp_path: Path) -> None:
    text = prometheus({"metric": {"__name__": "queue_length"}, "values": [[0, "1"], [60, "2"]]})
    with pytest.raises(SimulateError, match="queue_length is no counter"):
        load_trace(file(tmp_path, text, "range.json"))


def test_several_pools_in_a_log_ask_which(tmp_path: Path) -> None:
    text = "\n".join([decision(0, 0, 0), decision(1, 0, 0, "order")])
    with pytest.raises(SimulateError, match="several pools"):
        load_trace(file(tmp_path, text, "decisions.jsonl"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothere.csv", "No such file"),
        ("poison(rate=1)", "there is no such trace"),
        ("poisson(rate=1,speed=2)", "poisson takes rate, hours"),
        ("poisson()", "needs rate"),
        ("poisson(rate=1,hours=0)", "hours must be above 0"),
        ("flash(rate=1,lasting=3600)", "lasts longer than the trace"),
        ("poisson(rate=1", "expected a comma or a closing bracket, found the end"),
        ("poisson(rate==1)", "expected a name"),
        ("poisson(rate=fixed(1))", "must be a number"),
        ("daynight(low=9,high=-1)", "cannot be read"),
    ],
)
def test_bad_descriptions_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(SimulateError, match=message.replace("(", r"\(")):
        load_trace(text)


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("poisson(rate=5,hours=1)", 18_000),
        ("bursts(rate=20,on=60,off=240,hours=1)", 14_400),
        ("flash(rate=1,factor=50,lasting=60,hours=1)", 3_600 + 49 * 60),
        ("daynight(low=1,high=9,hours=24)", 5 * 86_400),
    ],
)
def test_made_up_traces_hold_what_they_say(text: str, jobs: int) -> None:
    trace = load_trace(text)
    assert trace.jobs == pytest.approx(jobs)
    assert len(make_load(trace, JOB, seed=2).arrivals_s) == pytest.approx(jobs, rel=0.03)


def test_flash_crowd_is_as_strong_as_asked() -> None:
    load = make_load(load_trace("flash(rate=1,factor=50,lasting=60,hours=1)"), JOB, seed=2)
    assert sum(1 for at in load.arrivals_s if 1_200 <= at < 1_260) == pytest.approx(3_000, rel=0.1)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 50)), min_size=2, max_size=50).filter(
        lambda rows: sum(count for _, count in rows) > 0
    ),
    scale=st.floats(0.1, 5),
    speedup=st.floats(0.1, 100),
)
def test_arrivals_are_ordered_and_inside(rows: list[tuple[int, int]], scale: float, speedup: float) -> None:
    windows = tuple((float(n), 1.0, float(count)) for n, (_, count) in enumerate(rows))
    trace = Trace(name="made", windows=windows, duration_s=float(len(rows))).replayed(scale=scale, speedup=speedup)
    try:
        load = make_load(trace, JOB, seed=1)
    except SimulateError:
        assert trace.jobs < 40  # so few were expected that none came
        return
    assert load.arrivals_s == sorted(load.arrivals_s)
    assert load.arrivals_s[0] >= 0
    assert load.arrivals_s[-1] <= load.duration_s + 1e-9


def outcome_of(read: Callable[[], Trace | Lengths]) -> Trace | Lengths | SimulateError:
    """What is read, or the one error that reading may end with; any other ends the test."""
    try:
        return read()
    except SimulateError as error:
        return error


CELLS = st.sampled_from(
    [
        "timestamp",
        "value",
        "0",
        "1",
        "60",
        "-5",
        "1e400",
        "nan",
        "2026-05-01 08:00",
        "9999-12-31",
        "",
        "x",
        '"7"',
        "{",
        "{}",
    ]
)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(st.lists(CELLS, max_size=3).map(",".join) | st.text(max_size=30), max_size=8))
def test_whatever_is_in_a_file_it_is_a_trace_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    found = outcome_of(lambda: load_trace(str(path)))
    if isinstance(found, Trace):
        assert found.duration_s > 0
        assert found.jobs >= 0
    else:
        assert len(str(found).splitlines()) == 1


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="poisnflahbure(),=.19einfmx \n", max_size=40))
def test_whatever_is_described_it_is_a_trace_or_one_line(text: str) -> None:
    for found in (outcome_of(lambda: load_trace(text)), outcome_of(lambda: lengths(text, "--job-seconds"))):
        assert isinstance(found, Trace | Lengths) or str(found)
