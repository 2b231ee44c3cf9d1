"""``python3 -m tools.cluster.tilt_image operator|worker|shop-services REFERENCE``: builds what the Tiltfile runs.

The images of the operator and of the worker get a supervisor on top, which takes edited code (``reload/``).
"""

from __future__ import annotations

import sys
from typing import Final

from tools.cluster.errors import ClusterError, CommandError
from tools.cluster.images import BUILD_S, OPERATOR, ROOT, SHOP_SERVICES, WORKER, build
from tools.cluster.process import run

_IMAGES: Final = {"operator": OPERATOR, "worker": WORKER, "shop-services": SHOP_SERVICES}
_PROGRAMS: Final = {"operator": "workerpool", "worker": "workerpool-worker"}
"""What the image's entry point runs, of those whose code is reloaded."""


def build_for_tilt(name: str, reference: str) -> None:
    """Build the image as it is shipped and, under ``reference``, the one for Tilt."""
    image = _IMAGES[name]
    build(image)
    if name not in _PROGRAMS:
        run(["docker", "tag", image.tag, reference])
        return
    command = ["docker", "build", "--quiet", "--tag", reference, "--build-arg", f"IMAGE={image.tag}"]
    command += ["--build-arg", f"PROGRAM={_PROGRAMS[name]}", str(ROOT / "tools" / "cluster" / "reload")]
    run(command, env={"DOCKER_BUILDKIT": "1"}, timeout_s=BUILD_S)


if __name__ == "__main__":
    try:
        build_for_tilt(sys.argv[1], sys.argv[2])
    except CommandError as error:
        sys.exit(f"{error.said.rstrip()}\nworkerpool: {error}")
    except ClusterError as error:
        sys.exit(f"workerpool: {error}")
