"""The WorkerPool operator: reads queues, decides how many workers are needed, moves their replicas."""
