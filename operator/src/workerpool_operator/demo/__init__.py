"""The demo: a rush hour in a shop, real jobs in real workers, counted from their effects."""
