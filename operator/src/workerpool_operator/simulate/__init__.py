"""The simulated world: the policy in virtual time, beside what it is compared with.

``world.py`` moves jobs and replicas, ``policies/`` decide sizes in it, ``traces.py`` and ``services.py`` say what load
there is, ``score.py`` says what came of it.
"""
