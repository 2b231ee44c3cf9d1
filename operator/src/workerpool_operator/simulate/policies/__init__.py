"""What decides sizes in the simulated world: WorkerPool's own policy, and what it is compared with."""
