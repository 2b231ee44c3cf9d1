"""The WorkerPool resource: the one place where its YAML is parsed and validated, for every world."""
