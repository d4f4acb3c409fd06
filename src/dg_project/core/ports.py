"""Ports on the loopback address, for pages on this machine only."""

from __future__ import annotations

import socket

from dg_project.core.errors import DGError

LOOPBACK = "127.0.0.1"


class PortError(DGError):
    """A port is in use, or cannot be used."""


def check_port(port: int, remedy: str) -> None:
    """Check that a port is free.

    Args:
        port: number of the port.
        remedy: how to choose another one, such as ``make demo DEMO_PORT=7861``.

    Raises:
        PortError: another program listens on it, or the system does not give it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended still holds it
        try:
            test.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise PortError(f"port {port} cannot be used ({error}); choose another: {remedy}") from error
