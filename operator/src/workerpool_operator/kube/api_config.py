"""How an API server is reached: the pod's service account, or a kubeconfig. Reading it again renews the credentials."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config
from yaml import YAMLError

from workerpool_operator.kube.api_errors import NotConfigured

_load_file = cast("Callable[..., Awaitable[object]]", load_kube_config)
_load_pod = cast("Callable[..., None]", load_incluster_config)


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Which API server, and as whom.

    Without ``kubeconfig`` it is the one of the cluster this runs in, else what kubectl would take (``$KUBECONFIG`` or
    ``~/.kube/config``). ``context`` is one of the kubeconfig's, its current one when None.
    """

    kubeconfig: Path | None = None
    context: str | None = None

    async def load(self, configuration: Configuration) -> None:
        """Fill in the address, the trust and the credentials.

        Raises:
            NotConfigured: They cannot be read; the text says which file.
        """
        in_cluster = self.kubeconfig is None and self.context is None and bool(os.environ.get(SERVICE_HOST_ENV_NAME))
        where = "the pod's service account" if in_cluster else f"the kubeconfig {self._file}"
        try:
            if self.kubeconfig is not None and not self.kubeconfig.is_file():
                raise FileNotFoundError(errno.ENOENT, "there is no such file")
            if in_cluster:
                _load_pod(configuration)
            else:
                await _load_file(self._file, self.context, configuration, persist_config=False)
        except (ConfigException, OSError, YAMLError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())
            message = f"cannot tell how to reach the API server from {where}: {why}; name a kubeconfig that is right"
            raise NotConfigured(status=0, reason="NotConfigured", message=message) from error

    @property
    def _file(self) -> str:
        named = str(self.kubeconfig) if self.kubeconfig is not None else os.environ.get("KUBECONFIG")
        return named or str(Path("~/.kube/config").expanduser())
