"""A kind cluster with the product and the example shop in it: ``python3 -m tools.cluster up|down|status|images``.

Needs only Python's standard library, Docker, kind, kubectl and helm. The end-to-end tests use the same parts:

    cluster = Cluster("e2e", kubeconfig=own_kubeconfig("e2e"))
    cluster.ensure()
    cluster.load(*build_all())
    shop.install(cluster)

``process`` runs programs and turns what they complain about into one line; ``needs`` finds them; ``images`` builds,
``kind`` owns the cluster, ``shop`` puts things into it, ``progress`` shows a person how far it is.
"""

from __future__ import annotations

from tools.cluster.errors import ClusterError, CommandError
from tools.cluster.images import ALL_IMAGES, OPERATOR, SHOP_SERVICES, WORKER, Image, build, build_all
from tools.cluster.kind import Cluster, own_kubeconfig

__all__ = [
    "ALL_IMAGES",
    "OPERATOR",
    "SHOP_SERVICES",
    "WORKER",
    "Cluster",
    "ClusterError",
    "CommandError",
    "Image",
    "build",
    "build_all",
    "own_kubeconfig",
]
