"""A Postgres server that goes away for a while, for whoever is at work: it is waited for.

Belongs here: an SQLAlchemy engine that connects again. Not here: whose engine it is; the lake's catalog and its leases, which
have a patience of their own.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

from resources.transient_errors import is_transient

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOGGER = logging.getLogger("lafid.database")

LONGEST_S = 900.0
SECONDS_BETWEEN_TRIES = 1.0


def wait_for_server(engine: "Engine", longest_s: float = LONGEST_S) -> None:
    """Let every connection of this engine wait for a server that does not answer, once it has answered: who cannot begin hears so
    at once, who is at work loses nothing."""
    from sqlalchemy import event

    has_answered = False

    def connect(dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
        nonlocal has_answered
        begun = time.monotonic()
        while True:
            try:
                connection = dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.OperationalError as error:
                waited_s = time.monotonic() - begun
                if not has_answered or not is_transient(error) or waited_s > longest_s:
                    raise
                if waited_s < SECONDS_BETWEEN_TRIES:
                    LOGGER.warning("%s does not answer: waiting for it", engine.url)
                time.sleep(SECONDS_BETWEEN_TRIES)
            else:
                has_answered = True
                return connection

    event.listen(engine, "do_connect", connect)
