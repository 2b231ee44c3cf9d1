"""What makes the jobs safe: delivery, recovery, draining, retries, effects that happen once."""
