"""Who can reach the page, and at which addresses."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import GpenError

HOST = "127.0.0.1"
"""The address of this computer to itself: no other computer can reach the page."""

PORTS = range(7860, 7960)
"""Tried in turn where no port is asked for."""

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Of an address that no network of this computer has."""

_ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses that no computer has; nothing is sent to them."""


@dataclass(frozen=True)
class Reach:
    """Who can reach the page."""

    address: str = HOST
    """The IP address of this computer that it listens on; 0.0.0.0 or :: for all."""
    names: Sequence[str] = ()
    """Further host names, in lower case, that the page may be asked for by."""
    password: str | None = None
    """What everybody has to know; None only where no other computer reaches the page."""
    is_made: bool = False
    """Whether the password was made up for this run, so that it has to be told."""

    @property
    def is_open(self) -> bool:
        """Whether other computers can reach the page."""
        return not ipaddress.ip_address(self.address).is_loopback

    @property
    def listens_on(self) -> str:
        """The address as web addresses have it."""
        return in_url(self.address)

    def addresses(self, port: int) -> list[str]:
        """Where the page can be opened, first on this computer."""
        address = ipaddress.ip_address(self.address)
        if not address.is_unspecified:
            return [f"http://{self.listens_on}:{port}"]
        hosts = [HOST if address.version == 4 else "::1", *_own_address(4 if address.version == 4 else 6)]
        if address.version == 6:
            hosts += _own_address(4)
        return [f"http://{in_url(host)}:{port}" for host in dict.fromkeys(hosts)]

    def told(self, port: int, device: object) -> str:
        """What is printed once the page is there."""
        here, *elsewhere = self.addresses(port)
        lines = [f"The page is at {here} (device: {device}). Press Ctrl+C to stop."]
        if elsewhere:
            lines.append(f"On other computers it is at {' or '.join(elsewhere)}.")
        if self.is_made:
            lines.append(f"The password is {self.password}")
        if self.is_open:
            lines.append(
                "Warning: the connection is not encrypted; for any network but your own, put a proxy with TLS in front "
                "of it."
            )
        return "\n".join(lines)

    def free_port(self, asked: int | None) -> int:
        """The port that was asked for, or else the first free one of PORTS; GpenError where there is none."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        for port in PORTS if asked is None else [asked]:
            with socket.socket(family) as tried:
                # As the server binds: a port whose last connections are closing is free.
                if os.name != "nt":
                    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    tried.bind((self.address, port))
                except OSError as error:
                    problem = error
                    if error.errno in _NOT_HERE:
                        raise GpenError(f"This computer does not have the address {self.address}.") from error
                else:
                    return port
        if asked is None:
            raise GpenError(f"Every port from {PORTS[0]} to {PORTS[-1]} is taken. Choose another one with --port.")
        if isinstance(problem, PermissionError):
            raise GpenError(
                f"Port {asked} is reserved by the system. Choose one from 1024 on with --port."
            ) from problem
        raise GpenError(
            f"Port {asked} is taken, perhaps by another `gpen app`. Choose another port with --port, or leave --port "
            "out."
        ) from problem


def in_url(address: str) -> str:
    """An IP address as web addresses have it."""
    return f"[{address}]" if ":" in address else address


def names_of_this_computer() -> frozenset[str]:
    """What others on the same network call this computer, in lower case."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local"}) if short else frozenset()


def _own_address(version: int) -> list[str]:
    """The address that this computer has on its network, if it is on one."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        # This sends nothing: it asks the system which way it would go.
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((_ELSEWHERE[version], 9))
            return [str(asking.getsockname()[0])]
    except OSError:
        return []
