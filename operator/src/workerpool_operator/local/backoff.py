"""How long a replica that keeps ending by itself waits before it is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CrashRecord:
    """What is remembered of a replica's crashes: how many waits in a row they cost, and whether a kill was forgiven."""

    waits: int = 0
    forgiven: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """The schedule: ``first_s``, then twice as long each time up to ``cap_s``; living ``reset_after_s`` clears it."""

    first_s: float = 1.0
    cap_s: float = 30.0
    reset_after_s: float = 60.0

    def delay_s(self, waits: int) -> float:
        """The wait in seconds after ``waits`` earlier ones in a row."""
        # The exponent is bounded as well: 2.0 ** 1024 overflows, and a broken command may be tried for days.
        return min(self.cap_s, self.first_s * 2.0 ** min(waits, 64))

    def after_crash(self, record: CrashRecord, *, lived_s: float, killed: bool) -> tuple[CrashRecord, float]:
        """Say what to remember and how many seconds to wait after one more crash.

        Args:
            record: What is remembered so far.
            lived_s: How long the replica lived this time, in seconds.
            killed: Whether it was ended by SIGKILL from outside. The first such end costs no wait: nothing says that
                the command is broken, and the job it held is stranded until a worker is there to bring it back.
        """
        if lived_s >= self.reset_after_s:
            record = CrashRecord()
        if killed and not record.forgiven and record.waits == 0:
            return CrashRecord(forgiven=True), 0.0
        return CrashRecord(waits=record.waits + 1, forgiven=record.forgiven), self.delay_s(record.waits)
