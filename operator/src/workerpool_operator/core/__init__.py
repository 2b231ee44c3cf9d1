"""The pure core: what was seen, what is wanted, what follows from it.

Nothing here reads a clock, draws a random number, logs, or touches a socket or a file; time is an argument. Every world
(Kubernetes, local, simulated) calls the same :func:`~workerpool_operator.core.policy.decide`.
"""
