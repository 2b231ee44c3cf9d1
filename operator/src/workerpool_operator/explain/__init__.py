"""``workerpool explain``: find who decides for a pool, ask for its last decision, show it."""
