"""The versions of the database's tables, run by `store.upgrade`. How to add one: CONTRIBUTING.md."""
