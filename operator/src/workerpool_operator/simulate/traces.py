"""Traces: when how many jobs arrive, from a file or made up, replayed as fast and as strong as asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from workerpool_operator.simulate.errors import SimulateError

_BINS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Arrivals over time, in seconds since the beginning of the trace.

    ``windows`` are stretches (begin, length, jobs) in order that do not overlap; ``moments``, where given, are the very
    times at which jobs arrived, and count instead. ``exact`` says that a window's number of jobs is what was counted,
    not the mean of something random. ``begin_s`` is the Unix time of the beginning, 0 where it is not known. ``rows``
    says that the windows are rows of a file, ``timed`` that it says when they are.
    """

    name: str
    duration_s: float
    windows: tuple[tuple[float, float, float], ...] = ()
    moments: tuple[float, ...] | None = None
    exact: bool = False
    begin_s: float = 0.0
    rows: bool = False
    timed: bool = True

    @property
    def jobs(self) -> float:
        """How many jobs arrive, or are expected to."""
        return float(len(self.moments)) if self.moments is not None else sum(window[2] for window in self.windows)

    @property
    def rate(self) -> float:
        """Jobs a second on average."""
        return self.jobs / self.duration_s

    def replayed(
        self, *, scale: float = 1.0, speedup: float = 1.0, window_s: float | None = None, rate: float | None = None
    ) -> Trace:
        """The trace as it is to be run.

        Args:
            scale: So many times the jobs.
            speedup: Time runs so many times as fast: the same jobs come in less time.
            window_s: How long one row of a file of counts lasts, before the speed-up; None: as its timestamps say.
            rate: So many jobs a second on average: replaces ``scale``.

        Raises:
            SimulateError: the trace has no rows to which a window could apply, or no job that could be scaled.
        """
        if window_s is None and not self.timed:
            raise SimulateError(f"{self.name}: its rows have no time: say how long one lasts with --window-seconds")
        trace = self if window_s is None else self._with_windows_of(window_s)
        if speedup != 1.0:
            trace = trace._faster(speedup)  # noqa: SLF001 - its own class
        if rate is not None:
            if not trace.jobs:
                raise SimulateError(f"{self.name}: it holds no job, so no rate can be reached")
            scale = rate / trace.rate
        return trace if scale == 1.0 else trace._scaled(scale)  # noqa: SLF001

    def first(self, seconds: float) -> Trace:
        """Its beginning only; of the window that is cut, the same share of its jobs."""
        if seconds >= self.duration_s:
            return self
        windows = []
        for begin, length, jobs in self.windows:
            if begin + length <= seconds:
                windows.append((begin, length, jobs))
            elif begin < seconds:
                windows.append((begin, seconds - begin, jobs * (seconds - begin) / length))
        moments = None if self.moments is None else tuple(at for at in self.moments if at <= seconds)
        exact = self.exact and all(jobs == int(jobs) for _, _, jobs in windows)
        return replace(self, duration_s=seconds, windows=tuple(windows), moments=moments, exact=exact)

    def _with_windows_of(self, window_s: float) -> Trace:
        if not self.rows:
            raise SimulateError(f"{self.name}: --window-seconds is for files with a count in each row")
        windows = tuple((row * window_s, window_s, jobs) for row, (_, _, jobs) in enumerate(self.windows))
        return replace(self, windows=windows, duration_s=len(windows) * window_s)

    def _faster(self, speedup: float) -> Trace:
        windows = tuple((begin / speedup, length / speedup, jobs) for begin, length, jobs in self.windows)
        moments = None if self.moments is None else tuple(at / speedup for at in self.moments)
        return replace(self, windows=windows, moments=moments, duration_s=self.duration_s / speedup)

    def _scaled(self, scale: float) -> Trace:
        trace = self if self.moments is None else self._binned()
        windows = tuple((begin, length, jobs * scale) for begin, length, jobs in trace.windows)
        return replace(trace, windows=windows, exact=False)

    def _binned(self) -> Trace:
        """Counts in place of moments: a number of jobs other than the real one has no moments of its own."""
        length = self.duration_s / _BINS
        counts = [0.0] * _BINS
        for at in self.moments or ():
            counts[min(_BINS - 1, int(at / length))] += 1
        return replace(self, moments=None, windows=tuple((n * length, length, jobs) for n, jobs in enumerate(counts)))


def load_trace(text: str, *, pool: str | None = None, mean_job_s: float = 1.0) -> Trace:
    """Find a trace: a file, or the description of one such as ``poisson(rate=5,hours=1)``.

    Args:
        text: What stands on the command line.
        pool: Whose decisions to take from a log that holds several pools'.
        mean_job_s: How long a job runs on average: a log does not say how many came and went between its lines.

    Raises:
        SimulateError: there is no such file, it cannot be read as a trace, or the description is none.
    """
    from workerpool_operator.simulate.synthetic import NAMES, synthetic  # noqa: PLC0415 - they make Traces
    from workerpool_operator.simulate.trace_files import read_trace  # noqa: PLC0415

    path = Path(text)
    if not path.exists() and text.partition("(")[0].strip() in NAMES:
        return synthetic(text)
    if not path.exists() and "(" in text:
        raise SimulateError(f"--trace: {text!r}: there is no such trace; take a file or one of {', '.join(NAMES)}")
    return read_trace(path, pool=pool, mean_job_s=mean_job_s)
