"""The cycle: observe, decide, act, report."""
