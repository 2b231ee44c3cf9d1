"""What can be seen of a worker: logs, metrics, probes, and what it says at its start."""
