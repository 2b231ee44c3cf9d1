"""The connection to Redis: addresses, TLS, Sentinels, and what is said when it cannot be used."""
