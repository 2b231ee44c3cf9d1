"""The commands of `workerpool-worker`, one module a group; `cli` puts them together."""
