"""Where a request on behalf of a workflow's author may go (SEC-10).

The rule is about addresses, and about the address that is connected to: a name is
resolved once, every address it has is judged, and the connection goes to one of
these. So neither a second look-up nor a redirect nor an odd spelling leads
elsewhere. Whatever cannot be judged is refused.

An address is judged in every form it stands for: ``::ffff:127.0.0.1``, 6to4,
Teredo and NAT64 carry an IPv4 address, and ``0.0.0.0`` and ``::`` reach loopback.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from mistral_lib.exceptions import ActionException

from mistral.config import HttpSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolver = Callable[[str, int], Sequence[str]]
"""``(host, port) → addresses`` as text; raises OSError where there is none."""

PUBLIC_CLOUD_DENIED: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "100::/64",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
"""Private, shared, unique-local, multicast, reserved and documentation networks,
and the one metadata address of a large cloud that lies in none of them."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")

_LOOPBACK: Final = (
    ipaddress.IPv4Address("127.0.0.1"),
    ipaddress.IPv6Address("::1"),
)


class EgressDenied(ActionException):  # type: ignore[misc]
    """The operator's policy forbids this request."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Egress:
    """The policy of ``[action_std_http]``."""

    def __init__(self, settings: HttpSettings, resolver: Resolver = resolve) -> None:
        self._resolve = resolver
        self._allowed = frozenset(host.lower() for host in settings.allowed_hosts)
        cidrs = settings.denied_cidrs
        if settings.egress_profile == "public-cloud":
            cidrs = (*cidrs, *PUBLIC_CLOUD_DENIED)
        self._denied = tuple(ipaddress.ip_network(c, strict=False) for c in cidrs)

    def check_url(self, url: str) -> str:
        """The host of the URL, if its scheme and host may be used at all.

        :raises EgressDenied:
        """
        try:
            parts = urlsplit(url)
            host, scheme = parts.hostname, parts.scheme
        except ValueError as error:
            raise EgressDenied("The URL cannot be read.") from error
        if scheme not in ("http", "https"):
            raise EgressDenied(
                f"URL scheme '{scheme}' is not allowed (only http and https are)."
            )
        if not host:
            raise EgressDenied("The URL has no host.")
        if self._allowed and host not in self._allowed:
            raise EgressDenied(f"Host '{host}' is not among the allowed hosts.")
        return host

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Addresses to connect to, all of them judged.

        :raises EgressDenied: any address lies in a denied network.
        :raises OSError: the host does not resolve.
        """
        literal = _literal(host)
        found = [literal] if literal else list(self._resolve(host, port))
        if not found:
            raise OSError(f"{host} has no address")
        for text in found:
            if not self._may(text):
                raise EgressDenied(f"The address of host '{host}' is not allowed.")
        return found

    def _may(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return not any(
            form in network for form in _forms(address) for network in self._denied
        )


def _literal(host: str) -> str | None:
    """The address that a host is, in any spelling that a C library takes:
    ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are ``127.0.0.1``."""
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        pass
    else:
        return bare
    if bare.strip() != bare or " " in bare:
        raise EgressDenied("The URL has no valid host.")
    try:
        return socket.inet_ntoa(socket.inet_aton(bare.rstrip(".")))
    except OSError:
        return None


def _forms(address: Address) -> Iterator[Address]:
    """The address, and every one that a packet to it may reach."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        if address in _THIS_NETWORK:
            yield from _LOOPBACK
        return
    if int(address) == 0:
        yield from _LOOPBACK
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    for form in inner:
        if form is not None:
            yield from _forms(form)
