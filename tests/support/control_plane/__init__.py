"""A real Kubernetes API server for the tests, with the controllers around it and simulated nodes.

``plugin`` has the fixtures, ``find`` says where the programs come from, ``cluster`` runs them. See docs/testing.md.
"""
