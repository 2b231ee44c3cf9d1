"""Volumes that pods without root may write to, on clusters whose provisioner forgets that.

kind's own provisioner makes folders that anybody may write to. A cluster built without it may have Kubernetes' in-tree
``kubernetes.io/host-path`` instead, made for tests: its folders belong to root, and ``fsGroup`` does not reach them.
"""

from __future__ import annotations

from typing import Final

from tools.cluster.kind import Cluster
from tools.cluster.process import run

_FORGETFUL: Final = "kubernetes.io/host-path"
_UNIT: Final = "workerpool-open-volumes"
_OPEN: Final = "while sleep 0.3; do chmod --quiet 1777 /tmp/hostpath_pv/* 2>/dev/null; done"


def open_volumes(cluster: Cluster) -> bool:
    """Keep the folders of that provisioner open, by a unit of the node's systemd; True where it was needed."""
    classes = cluster.get("storageclasses")["items"]
    if all(one["provisioner"] != _FORGETFUL for one in classes):
        return False
    for node in cluster.nodes():
        start = f"systemctl is-active --quiet {_UNIT} || systemd-run --quiet --collect --unit={_UNIT} sh -c '{_OPEN}'"
        run(["docker", "exec", node, "sh", "-c", start])
    return True
