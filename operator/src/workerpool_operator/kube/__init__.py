"""The Kubernetes world: WorkerPool objects in, Deployments, status and events out."""
