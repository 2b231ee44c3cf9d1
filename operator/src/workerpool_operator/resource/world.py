"""The worlds a WorkerPool is read for: what one of them provides, another has to be told."""

from __future__ import annotations

import enum


class World(enum.StrEnum):
    """Where a pool will run. The schema is the same everywhere; only what may be left out differs."""

    KUBERNETES = "Kubernetes"
    """The product: the broker has to be named."""
    LOCAL = "local"
    """Processes on this machine: without a broker a Redis is started, and there is no Deployment to refer to."""
    SIMULATED = "simulated"
    """Numbers only: neither a broker nor a Deployment is ever looked at."""
