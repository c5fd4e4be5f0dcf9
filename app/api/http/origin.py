"""Whose pages may drive the server: the one rule for every HTTP application and WebSocket.

A browser lets any page send requests to any address that it reaches, those of the user's own
machine and network included, and says only from where: in `Origin` (RFC 6454) and `Sec-Fetch-Site`
(W3C Fetch Metadata). A page whose name resolves to this server once the page is loaded (DNS
rebinding) is of the server's own origin; only `Host` tells that it is none of the server's names.
Programs that are no browsers send neither of the first two, and an address or a known name.
"""

import ipaddress
import socket
from collections.abc import Collection

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.answers import on_error
from app.errors import Forbidden

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = (b"same-origin", b"none")
_REMEMBERED = 64
"""Values of Host: there are as many as a server has names and addresses."""


class OriginGuard:
    """ASGI wrapper: answers 403 to pages that may not do what they ask for.

    What changes something, and every WebSocket, must come from a page of the server itself or of
    one of the `origins` (`scheme://host[:port]`), or from no page. For all requests the host must
    be an IP address, `localhost` or below it, the machine's own name, also under `.local`, that of
    one of the `origins` or one of `hosts`. `field` is where a configuration has `hosts`.
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
        field: str = "gateway.hosts",
    ) -> None:
        self.app = app
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._field = field
        machine = socket.gethostname().lower()
        of_origins = (_name_of(origin.partition("://")[2]) for origin in origins)
        self._names = {
            "localhost",
            machine,
            f"{machine}.local",
            *map(str.lower, hosts),
            *of_origins,
        }
        self._accepted: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind in ("http", "websocket"):
            try:
                self._check(scope, kind == "http" and scope["method"] in _READING)
            except Forbidden as error:
                if kind == "http":
                    response = await on_error(Request(scope), error)
                    await response(scope, receive, send)
                else:  # before the handshake, which servers then answer with 403
                    await send({"type": "websocket.close"})
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, is_reading: bool) -> None:
        """Raises Forbidden. Every inference passes here: one pass, no host is parsed twice."""
        host = site = b""
        origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                if host not in self._accepted:
                    self._check_host(host)
            elif name == b"origin":
                origin = value.lower()
            elif name == b"sec-fetch-site":
                site = value
        if is_reading or (origin is None and not site) or origin in self._origins:
            return
        if site and site not in _OWN_SITE:
            raise Forbidden(f"a page of another site may not do this ({_ALLOWED})")
        # Both schemes: whether a proxy in front of the server speaks TLS is not known here, and a
        # browser that speaks TLS calls a page of the other scheme a foreign site.
        host = host.lower()
        if origin is not None and not (host and origin in (b"http://" + host, b"https://" + host)):
            raise Forbidden(
                f"a page of origin {origin.decode('latin-1')!r} may not do this ({_ALLOWED})"
            )

    def _check_host(self, host: bytes) -> None:
        """Raises Forbidden. An empty one is that of a client without a name for the server."""
        name = _name_of(host.decode("latin-1"))
        if host and not (name in self._names or name.endswith(".localhost") or _is_address(name)):
            raise Forbidden(
                f"host: {name!r} is not known as a name of this server; where it is one, add it to"
                f" {self._field} in the configuration"
            )
        if len(self._accepted) >= _REMEMBERED:
            self._accepted.clear()
        self._accepted.add(host)


_ALLOWED = "other origins whose pages may are configured as `origins`"


def _name_of(authority: str) -> str:
    """The host of `host[:port]`, in lower case; what is not of that form stays as it is."""
    name, colon, port = authority.lower().rpartition(":")
    if not colon or not (port.isdigit() or not port):
        name = authority.lower()
    return name.removesuffix(".")


def _is_address(name: str) -> bool:
    """IPv4, or IPv6 in brackets (RFC 3986, section 3.2.2)."""
    is_bracketed = name.startswith("[") and name.endswith("]")
    try:
        address = ipaddress.ip_address(name[1:-1] if is_bracketed else name)
    except ValueError:
        return False
    return (address.version == 6) == is_bracketed
