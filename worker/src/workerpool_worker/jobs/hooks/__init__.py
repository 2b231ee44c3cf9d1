"""Hooks: what is told to others when a job has completed, or failed for good."""
