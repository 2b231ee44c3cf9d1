"""One module a queue layout: how jobs lie in Redis, and how to read all pools of a broker in one round trip."""
