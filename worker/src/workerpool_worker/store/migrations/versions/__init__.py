"""One file a version, never changed once released: a database somewhere was made by it."""
