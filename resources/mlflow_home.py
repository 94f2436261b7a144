"""MLflow's local store in a home that was moved.

Belongs here: the addresses that MLflow keeps as whole paths, brought to where the files lie now. Not here: what we ask of the
registry (`tracking`).
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

LOGGER = logging.getLogger("lafid.tracking")
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow 3 that hold where files lie."""


def follow_moved_home(database: Path, artifacts: Path, experiment: str) -> bool:
    """Makes every address below the experiment's recorded folder one below `artifacts`, where that lies beside the database.

    A database and a folder that are configured apart do not move together, and stay as they are.

    Returns:
        Whether anything was changed.
    """
    if database.parent != artifacts.parent or not database.is_file():
        return False
    now = artifacts.as_uri()
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        recorded = _recorded(connection, experiment)
        if recorded in (None, now):
            return False
        connection.execute("BEGIN IMMEDIATE")
        recorded = _recorded(connection, experiment)
        if recorded in (None, now):
            connection.execute("ROLLBACK")
            return False
        for table, column in _ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(recorded) + 1, recorded, len(recorded) + 1, f"{recorded}/"),
            )
        connection.execute("COMMIT")
    LOGGER.info("the home was moved: MLflow's addresses now begin with %s, no longer with %s", now, recorded)
    return True


def _recorded(connection: sqlite3.Connection, experiment: str) -> str | None:
    """Where the experiment's artifacts are said to lie; None before MLflow has made its tables, or the experiment."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    return None if row is None else str(row[0])
