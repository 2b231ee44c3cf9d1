"""What can be wrong with what a simulation is given.

SimulateError     one line that names the option, or the file and the line, and what to do
"""

from __future__ import annotations


class SimulateError(ValueError):
    """The simulation cannot be run as asked. The text is one line a person can act on."""
