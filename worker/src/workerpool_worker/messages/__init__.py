"""Where a job's message lies in Redis, and how it moves.

At every moment it is in exactly one place: the list of its queue, a pool's unacknowledged ones, the delayed set of its
queue, or the dead letters of its queue. Every move is one script, so nothing is lost or doubled by a kill in between.
"""
