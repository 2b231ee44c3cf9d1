"""What can go wrong when a report is set up.

Exception
└── ReportError: a log, page or view that cannot be opened; one line that says what to do

Once set up, a sink never raises: the loop must not suffer from how it is reported.
"""

from __future__ import annotations


class ReportError(Exception):
    """A report cannot be set up. Its text is one line for the person who asked for it, with what to do about it."""
