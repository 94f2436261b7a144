"""Which faults pass by themselves, so that trying again can help.

Belongs here: that one question. Not here: how often a run tries again (`run_failure`), patience within one transaction (`lake`,
`table`), which has run out when one of these is raised.
"""

import errno
import re
from collections.abc import Iterator


class Transient(Exception):
    """Marks a class of errors: the same call may succeed a little later, though nobody does anything about it."""


NETWORK_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.ESTALE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
    }
)
OTHERS_CLASSES = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"})
"""Classes of botocore and urllib3, which a run need not have loaded."""
OTHERS_WORDS = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|INTERNAL_FAILURE|THROTTLING)"
    r"|database is locked|server closed the connection|terminating connection|the database system is (starting|shutting)"
    r"|connection to server .*(Connection refused|timeout expired|Network is unreachable|No route to host)",
    re.DOTALL,
)
"""Of Arrow's S3, of SQLite and of Postgres, which say it in words alone."""


def is_transient(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, passes by itself.

    A full disk, a wrong setting, a broken contract do not, nor does a GPU's memory that is too small: the next try needs as much.
    """
    return any(map(_passes, chain(error)))


def _passes(error: BaseException) -> bool:
    if isinstance(error, Transient | ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in NETWORK_ERRNOS:
        return True
    if OTHERS_CLASSES & {kind.__name__ for kind in type(error).__mro__}:
        return True
    return bool(getattr(error, "connection_invalidated", False) or OTHERS_WORDS.search(str(error)))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
