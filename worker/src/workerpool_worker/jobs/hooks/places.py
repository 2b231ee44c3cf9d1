"""Where a webhook may not go: the addresses at which clouds give credentials to whoever asks."""

from __future__ import annotations

import ipaddress
import socket

from workerpool_worker.runtime.errors import PermanentError, TransientError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Besides the link-local ones: Amazon's over IPv6, Alibaba's, Oracle's.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))


def is_off_limits(host: str) -> bool:
    """Whether a host written as an address is one of them; False for names, which `check_place` looks up."""
    try:
        address: Address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_link_local or address in _METADATA


def check_place(host: str, port: int) -> None:
    """Look a host up, just before a request goes there.

    Raises:
        PermanentError: one of its addresses is off limits.
        TransientError: it cannot be looked up now.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransientError(f"cannot look {host} up: {error.strerror}") from error
    for *_, place in found:
        if is_off_limits(str(place[0])):
            raise PermanentError(f"{host} is at {place[0]}, where no webhook may go")
