"""Reading the published DuckDB file for the commands that answer questions. Needs no Dagster; writes nothing.

Belongs here: opening it, and reading tables or parts of them as frames. Not here: what is asked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import polars as pl

from lafid_assets.contract import comments
from lafid_assets.schemas import TABLES
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse, WarehouseUnusable


class Published:
    """The published tables through one read-only connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: str) -> None:
        self.connection = connection
        self.path = path
        rows = connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
        self.names = frozenset(name for (name,) in rows)

    def table(self, name: str, columns: Sequence[str] = (), clip_id: str | None = None, where: str | None = None) -> pl.DataFrame:
        """Rows of a table, of one clip if given or those that a condition in SQL lets through, in the order of their keys.

        Raises:
            WarehouseUnusable: the table has not been materialized yet.
        """
        if name not in self.names:
            raise WarehouseUnusable(f"{self.path} holds no {name}: run `make demo` or `lafid curate DIR` first")
        wanted = ", ".join(f'"{column}"' for column in columns) or "*"
        conditions = [*(["clip_id = ?"] if clip_id is not None else []), *([f"({where})"] if where else [])]
        filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        parameters = [] if clip_id is None else [clip_id]
        return self.connection.sql(f'SELECT {wanted} FROM "{name}"{filtered}', params=parameters).pl()


@contextmanager
def open_published(settings: Settings) -> Iterator[Published]:
    """The published tables.

    Raises:
        WarehouseUnusable: nothing has been published yet.
    """
    warehouse = Warehouse(settings.warehouse_path, ShardStore(settings.store_uri), comments(TABLES))
    with warehouse.read() as connection:
        yield Published(connection, str(warehouse.path))
