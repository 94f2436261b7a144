"""What nobody may read: passwords in addresses, and the values of environment variables that hold keys.

Belongs here: finding them and taking them out of a text that is shown or kept. Not here: where they are used.
"""

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

HIDDEN = "***"
_IN_ADDRESS = re.compile(
    r"(?P<before>://[^/@:\s]*:)(?P<secret>(?:(?!://)[^\s'\"])+)(?=@)|(?P<named>[?&]password=)(?P<value>[^&\s'\"]+)"
)
_HOLDS_A_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PGPASS|WEBHOOK|ALERT", re.IGNORECASE)
_LEAST = 8
"""Letters of a secret; shorter values are words that texts hold anyway."""


def without_password(address: str) -> str:
    """An address that may be shown."""
    return _IN_ADDRESS.sub(lambda found: f"{found['before'] or found['named']}{HIDDEN}", address)


def has_password(address: str) -> bool:
    """Whether an address holds a password."""
    return _IN_ADDRESS.search(address) is not None


def passwords_of(address: str) -> Iterator[str]:
    """Every password in an address, as it stands there and as the server is told it."""
    for found in _IN_ADDRESS.finditer(address):
        secret = found["secret"] or found["value"]
        yield from (secret, unquote(secret))


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text without certain secrets."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def without_secrets(text: str) -> str:
    """A text without what this process's environment holds of secrets, and without passwords in any address."""
    known = [
        secret
        for name, value in os.environ.items()
        for secret in (value, *passwords_of(value))
        if len(secret) >= _LEAST and (secret != value or _HOLDS_A_SECRET.search(name))
    ]
    return without_password(hide(text, known))
