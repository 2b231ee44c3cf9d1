"""Celery's main process of a worker: it fetches, hands to the children, moves messages, and leaves in order."""
