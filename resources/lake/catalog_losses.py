"""The catalog beside the store's files: what a catalog that was made anew from its copy does not know, and what is not there.

Belongs here: comparing, and saying what is lost. Not here: making the catalog anew (`catalog_copy`).
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from model.wording import first_few
from resources.lake.catalog import TABLES_FOLDER
from resources.lake.duckdb_extensions import duckdb_cursor, quoted
from resources.lake.tables import PARTITIONS
from resources.store.file_store import FileStore

if TYPE_CHECKING:
    from resources.lake.lake import Lake

MOST_NAMED = 5


@dataclass(frozen=True)
class Restored:
    """What `catalog_copy.restore` did.

    Attributes:
        store: whose catalog it is.
        made_at: when the copy was made; None where the catalog was whole, and only the home is another one now.
        snapshot: the lake's newest one in the copy.
        lost: table to shards of files that the copy does not know; no shards where a table has none or the file does not tell.
        missing: table to the number of files that the copy names and the store does not hold.
    """

    store: str
    made_at: str | None = None
    snapshot: int = 0
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """A few lines for the user."""
        if self.made_at is None:
            return f"the store {self.store} is this home's now; its catalog is whole and was left as it is"
        lines = [
            f"the catalog of {self.store} is as it was at {self.made_at} (snapshot {self.snapshot}); "
            "what was written later counts as not current: `lafid curate` computes it again"
        ]
        if self.lost:
            told = (
                f"{table} ({first_few(shards, MOST_NAMED)})" if shards else table for table, shards in sorted(self.lost.items())
            )
            lines.append(f"files that the copy does not know, whose rows are lost: {', '.join(told)}")
        if self.missing:
            told = (f"{table} ({count})" for table, count in sorted(self.missing.items()))
            lines.append(
                f"files that are gone from the store, so that these tables cannot be read: {', '.join(told)}; put them back, "
                "or set LAFID_STORE to a new folder and curate into it"
            )
        return "\n".join(lines)


def missing_files(lake: "Lake") -> dict[str, int]:
    """Table to the number of its files that the store does not hold. May be asked while others write: what is committed after
    the catalog was read is not asked for, and what it names is kept for longer than a listing takes."""
    with lake.snapshot() as reader:
        named = reader.cursor.execute(
            " UNION ALL ".join(
                f"SELECT split_part(file.path, '/', -1), table_name FROM {reader.catalog}.ducklake_{kind}_file file "
                f"JOIN {reader.catalog}.ducklake_table tables ON tables.table_id = file.table_id AND tables.end_snapshot IS NULL "
                "WHERE file.end_snapshot IS NULL"
                for kind in ("data", "delete")
            )
        ).fetchall()
    there = {path.rpartition("/")[2] for path in lake.store.list_tree(TABLES_FOLDER)}
    return dict(Counter(table for name, table in named if name not in there))


def compared(lake: "Lake", made_at: str) -> Restored:
    """What the catalog knows beside what the store holds."""
    with lake.snapshot() as reader:
        named = " UNION ".join(
            f"SELECT split_part(path, '/', -1) FROM {reader.catalog}.ducklake_{kind}"
            for kind in ("data_file", "delete_file", "files_scheduled_for_deletion")
        )
        known = {name for (name,) in reader.cursor.execute(named).fetchall()}
        snapshot = reader.snapshot()
    there = lake.store.list_tree(TABLES_FOLDER)
    lost: dict[str, set[str]] = {}
    for path in there:
        if path.rpartition("/")[2] not in known and (table := path.split("/")[-2]) != PARTITIONS:
            lost.setdefault(table, set()).update(_shards(lake.store, path))
    told = {table: tuple(sorted(shards)) for table, shards in lost.items()}
    return Restored(lake.store.uri, made_at, snapshot, told, missing_files(lake))


def _shards(store: FileStore, path: str) -> list[str]:
    """The shards of a file's rows; none where it has no such column or is half written."""
    where = str(store.local_path(path)) if store.is_local else f"{store.uri}/{path}"
    with suppress(duckdb.Error):
        found = duckdb_cursor(()).execute(f"SELECT DISTINCT shard FROM read_parquet({quoted(where)})").fetchall()
        return [str(shard) for (shard,) in found]
    return []
