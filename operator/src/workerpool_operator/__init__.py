"""The WorkerPool operator: reads queues, decides how many workers are needed, moves their replicas."""

from importlib.metadata import version

__version__ = version("workerpool-operator")
