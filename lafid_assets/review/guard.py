"""Who may talk to the review page: its own pages in a browser on this machine, and nobody whom another site sends.

Belongs here: what is asked of every request, and what every answer tells the browser. Not here: what is answered (`app`).

A page of another site can have a browser send requests here. It is kept out by name (its requests bear the name under which it
pretends to be this machine), by origin, and by a token that only this server's own pages can read.
"""

import ipaddress
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-lafid-token"
_TOLD = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class OwnNamesOnly:
    """Lets a request through whose Host is an address or one of this machine's names: a name of somebody else's, which leads here
    by DNS rebinding, is refused.

    Args:
        names: under which the server may be asked, beside addresses.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_TOLD)
            await send(message)

        refuse = JSONResponse({"error": "this server does not go by that name: use the address that it printed"}, 421)
        answers = self._app if self._knows(Headers(scope=scope).get("host", "")) else refuse
        await answers(scope, receive, tell)

    def _knows(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class NotOwnPage(PermissionError):
    """A request that changes something does not come from one of this server's pages."""


class Token:
    """What only this server's own pages know; a new one a start."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(32)

    def require(self, request: Request) -> None:
        """
        Raises:
            NotOwnPage: the request comes from elsewhere.
        """
        origin = urlsplit(request.headers.get("origin", "")).netloc
        told = request.headers.get(TOKEN_HEADER, "")
        if origin != request.headers.get("host") or not secrets.compare_digest(told.encode(), self.text.encode()):
            raise NotOwnPage("not asked by a page of this server: load the page again")
