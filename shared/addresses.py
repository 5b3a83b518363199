"""Which network addresses a URL from outside may lead to: pure decisions, no socket."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated

from pydantic import AfterValidator

WEB_PORTS = frozenset({80, 443})

# Source: the IANA special-purpose registries of IPv4 and IPv6; written out, because what `ipaddress` calls global has
# changed between Python releases, and because it calls multicast global.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own (CGNAT)
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks global, and is the host's own service on Azure
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID and other protocols' own
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Is this the address of a host on the open Internet? False for anything else, and for what is no address.

    An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is as public as the one it carries.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        carried = _carried_by(parsed)
        if carried is None:
            return parsed in _GLOBAL_V6 and not any(parsed in network for network in _REFUSED_V6)
        parsed = carried
    return not any(parsed in network for network in _REFUSED_V4)


@dataclass(frozen=True)
class AllowedAddresses:
    """Exceptions from the rule, each an exact address and port; none unless someone names them."""

    pairs: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "AllowedAddresses":
        """From `127.0.0.1:8099,[::1]:8098`; ValueError names the pair that is wrong. Names of hosts are not taken."""
        return cls(frozenset(_pair(part.strip()) for part in text.split(",") if part.strip()))

    def lets_port(self, port: int) -> bool:
        """May a URL name this port at all?"""
        return port in WEB_PORTS or any(port == allowed for _, allowed in self.pairs)

    def lets(self, address: str, port: int) -> bool:
        """May a socket be connected to this address and port?"""
        return (_spelling(address), port) in self.pairs or (port in WEB_PORTS and is_public(address))

    def __str__(self) -> str:
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sorted(self.pairs))


def _checked(text: str) -> str:
    AllowedAddresses.parse(text)
    return text


AllowedAddressesText = Annotated[str, AfterValidator(_checked)]
"""The type of a setting that holds them; it stays text, so that the start-up log shows it as it was given."""


def _carried_by(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _pair(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        if not 1 <= int(port) <= 65535:
            raise ValueError(port)
        return _spelling(host.removeprefix("[").removesuffix("]")), int(port)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address:port; write for example 127.0.0.1:8099 or [::1]:8099") from error


def _spelling(address: str) -> str:
    return str(ip_address(address))
