"""Writing into the lake in one transaction: the tables of partitions, and what they were computed from.

Belongs here: replacing and adding rows, slots, stamps, fencing. Not here: the transaction and its retries (`lake`).
"""

import hashlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.duckdb_extensions import literal, quoted
from resources.lake.frames import lent
from resources.lake.reader import Reader
from resources.lake.tables import ANY, PARTITIONS
from resources.transient_errors import Transient

UNPARTITIONED = "all"
_STAMPED = ("table_name", "partition", "fingerprint", "digest", "row_count", "token", "settings_sha256")


class Fenced(RuntimeError, Transient):
    """Somebody else has computed the partition since: this run was thought dead, and what it made is not written."""


def frame_digest(frame: pl.DataFrame) -> str:
    """Hash of a frame's columns, types and values; the same for equal frames on any machine."""
    return _digest(frame.rechunk().to_arrow())


def _digest(rows: pa.Table) -> str:
    # Parquet holds nothing below a NULL; Arrow's own format would hash whatever happens to lie in memory there.
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="none", use_dictionary=False)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def _parts(frame: pl.DataFrame) -> dict[str, pa.Table]:
    """Shard to its rows, cut out of one table."""
    ordered = frame.sort("shard", maintain_order=True).rechunk()
    counts = ordered["shard"].unique_counts()
    starts = counts.cum_sum() - counts
    rows = ordered.to_arrow()
    shards = ordered["shard"].unique(maintain_order=True)
    return {shard: rows.slice(start, count) for shard, start, count in zip(shards, starts, counts, strict=True)}


class Writer(Reader):
    """One transaction that may write."""

    def put(
        self,
        frames: Mapping[str, pl.DataFrame],
        fingerprints: Mapping[str, str],
        token: int = 0,
        settings_sha256: str | None = None,
    ) -> None:
        """Put tables of some partitions in place of what was there.

        Tables that only grow (`appended`) take the rows whose key they do not hold yet.

        Args:
            frames: table to rows in the contract's form, of all these partitions.
            fingerprints: partition to the hash of what it was computed from.
            token: of the lease under which they were computed.
            settings_sha256: of the settings that decided them, a row of `policy_settings`.

        Raises:
            Fenced: somebody with a later lease has written one of the partitions.
        """
        kept = {name: frame for name, frame in frames.items() if not self.tables[name].appended}
        slots = self._claim(kept, fingerprints, token)
        full: dict[str, list[str]] = {}
        for (name, partition), rows in slots.items():
            if rows:
                full.setdefault(name, []).append(partition)
        for name, frame in frames.items():
            if name in full:
                where = f" WHERE shard IN ({', '.join(map(quoted, full[name]))})" if self.tables[name].partitioned else ""
                self.cursor.execute(f"DELETE FROM {name}{where}")
            self.add(name, frame)
        self._stamp(kept, fingerprints, (token, settings_sha256), slots)

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table; to one that only grows, those whose key it does not hold yet."""
        if frame.is_empty() or not self.tables[table].appended:
            self.insert(table, frame)
            return
        unknown = f"FROM incoming ANTI JOIN {table} USING ({', '.join(self.tables[table].key)})"
        with lent(self.cursor, incoming=frame):
            if self.cursor.execute(f"SELECT 1 {unknown} LIMIT 1").fetchone():
                self.serialise()
                self.cursor.execute(f"INSERT INTO {table} BY NAME SELECT * {unknown}")

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows, whatever is there."""
        if not frame.is_empty():
            with lent(self.cursor, incoming=frame):
                self.cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")

    def restamp(self, slots: Iterable[tuple[str, str]]) -> None:
        """Write down what partitions hold now, after some of their rows have changed; they still say what they were computed
        from.

        Args:
            slots: (table, partition) of each.
        """
        held = [(*slot, frame_digest(rows), rows.height) for slot in slots for rows in [self.read(*slot)]]
        self._change_stamps(held, ("table_name", "partition", "digest", "row_count"))

    def serialise(self) -> None:
        """Make the second of two processes that add the same thing meet a conflict and begin again."""
        self.cursor.execute(f"UPDATE {PARTITIONS} SET token = token + 1 WHERE partition = {quoted(ANY)}")

    def fence(self, token: int) -> None:
        """Keep whoever took a lease before this token from writing a partition, a new one included. What was written without a
        lease stays so."""
        self.cursor.execute(
            f"UPDATE {PARTITIONS} SET token = {token} WHERE token < {token} AND (token > 0 OR partition = {quoted(ANY)})"
        )

    def _claim(self, kept: Mapping[str, pl.DataFrame], partitions: Mapping[str, str], token: int) -> dict[tuple[str, str], int]:
        """(table, partition) to its rows, of those that have a slot; whoever makes the others meanwhile is in the way."""
        if not kept:
            return {}
        # The row of `ANY` comes with them: another question would cost as much as this one.
        slots = self.slots([*kept, ""], [*partitions, ANY])
        _, fenced = slots.pop(("", ANY))
        missing = [(table, partition) for table in kept for partition in partitions if (table, partition) not in slots]
        if missing:
            self.serialise()
            if 0 < token <= fenced:
                raise Fenced(
                    f"{' '.join(missing[0])} is not written: this run was thought dead, and another command has been alone in "
                    "the store since"
                )
        if later := [slot for slot, (_, held) in slots.items() if held > token]:
            raise Fenced(
                f"{' '.join(later[0])} was written by a later run: what this one made, which was thought dead, is left out"
            )
        return {slot: rows for slot, (rows, _) in slots.items()}

    def _stamp(
        self,
        kept: Mapping[str, pl.DataFrame],
        fingerprints: Mapping[str, str],
        made: tuple[int, str | None],
        slots: Collection[tuple[str, str]],
    ) -> None:
        """Write down what the partitions hold now, and how they were `made`: under which lease and settings.

        `slots` are those that have a row already.
        """
        stamps = []
        for table, frame in kept.items():
            parts = _parts(frame) if self.tables[table].partitioned else {UNPARTITIONED: frame.rechunk().to_arrow()}
            if strange := sorted(set(parts) - set(fingerprints)):
                raise ValueError(f"{table} has rows of {strange[0]}, which is not among {', '.join(fingerprints)}")
            nothing = frame.clear().to_arrow()
            for partition, fingerprint in fingerprints.items():
                rows = parts.get(partition, nothing)
                stamps.append((table, partition, fingerprint, _digest(rows), rows.num_rows, *made))
        known = [stamp for stamp in stamps if stamp[:2] in slots]
        new = [stamp for stamp in stamps if stamp[:2] not in slots]
        self._change_stamps(known, _STAMPED, ", written_at = now()")
        if new:
            rows = f"(VALUES {_listed(new)}) new ({', '.join(_STAMPED)})"
            self.cursor.execute(f"INSERT INTO {PARTITIONS} BY NAME SELECT *, now() AS written_at FROM {rows}")

    def _change_stamps(self, stamps: Sequence[tuple[Any, ...]], columns: Sequence[str], further: str = "") -> None:
        """Put stamps in place of those of the same table and partition, which come first in them: one UPDATE costs half of a
        DELETE and an INSERT."""
        if stamps:
            changed = ", ".join(f"{name} = new.{name}" for name in columns[2:])
            self.cursor.execute(
                f"UPDATE {PARTITIONS} SET {changed}{further} FROM (VALUES {_listed(stamps)}) new ({', '.join(columns)}) "
                f"WHERE {PARTITIONS}.table_name = new.table_name AND {PARTITIONS}.partition = new.partition"
            )


def _listed(rows: Iterable[tuple[Any, ...]]) -> str:
    """Rows as SQL's VALUES has them."""
    return ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
