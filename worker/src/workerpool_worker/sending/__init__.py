"""What becomes of a job that a program sends: into Redis, run at once, or dropped. `producer` is the way in."""
