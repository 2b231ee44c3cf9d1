"""The WorkerPool resource: the one place where its YAML is parsed and validated, for every world."""

from workerpool_operator.resource.errors import Problem, ResourceError
from workerpool_operator.resource.load import load_files, load_pools
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.parse import parse_pool
from workerpool_operator.resource.to_spec import pool_spec
from workerpool_operator.resource.world import World

__all__ = ["Problem", "ResourceError", "WorkerPool", "World", "load_files", "load_pools", "parse_pool", "pool_spec"]
