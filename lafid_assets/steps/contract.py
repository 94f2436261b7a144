"""The language in which a table is described: columns with types, units and rules, from which everything else follows.

Belongs here: `Column`, `TableSchema`, and what can be derived from them (typed frames, violations, Dagster's column schema).
Not here: the tables themselves (`schemas`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets.outcomes import REASONS, Status


@dataclass(frozen=True)
class Column:
    """One column: its name, Polars type, meaning with unit, and what may stand in it."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    doc: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSchema:
    """One table: what a row is, its key and its columns.

    Attributes:
        partitioned: whether it is written a shard at a time; such tables carry the column `shard`.
        appended: whether rows are only ever added, by key.
        view: SQL that shows other tables in this form; such a table holds nothing of its own.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned: bool = True
    appended: bool = False
    view: str | None = None

    @property
    def comments(self) -> dict[str, str]:
        """Column name to its meaning: the lake's SQL comments."""
        return {column.name: column.doc for column in self.columns}

    @property
    def nullable(self) -> frozenset[str]:
        """Columns that may be NULL."""
        return frozenset(column.name for column in self.columns if column.nullable)

    @property
    def dtypes(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column name to Polars type, in the table's order."""
        return {column.name: column.dtype for column in self.columns}

    @property
    def says_how_clips_end(self) -> bool:
        """Whether its rows have status and reason of a clip."""
        known = {column.name: column.one_of for column in self.columns}
        return {"clip_id", "status", "reason"} <= set(known) and set(known["status"]) <= set(Status)

    def frame(self, rows: Iterable[Mapping[str, Any]] | pl.DataFrame) -> pl.DataFrame:
        """Rows as a frame with exactly this table's columns and types, sorted by key.

        Raises:
            ValueError: a column is missing, unknown or of a type that cannot be cast; the message names table and column.
        """
        if isinstance(rows, pl.DataFrame):
            unknown = set(rows.columns) ^ set(self.dtypes)
            if unknown:
                raise ValueError(f"{self.name}: columns differ from the contract: {', '.join(sorted(unknown))}")
            typed = rows.select(pl.col(name).cast(dtype) for name, dtype in self.dtypes.items())
        else:
            listed = list(rows)
            unknown = {name for row in listed for name in row} - set(self.dtypes)
            missing = {name for row in listed for name in self.dtypes if name not in row}
            if unknown or missing:
                raise ValueError(f"{self.name}: columns differ from the contract: {', '.join(sorted(unknown | missing))}")
            typed = pl.DataFrame(listed, schema=self.dtypes, orient="row")
        return typed.sort(self.key)

    def violations(self, frame: pl.DataFrame) -> list[str]:
        """What is wrong with `frame`: its columns and types, keys that occur twice, values and reasons that may not be there."""
        wrong_types = [
            f"{name} is {frame.schema.get(name)}, not {dtype}"
            for name, dtype in self.dtypes.items()
            if frame.schema.get(name) != dtype
        ]
        if wrong_types:
            return wrong_types
        duplicates = frame.group_by(self.key).len().filter(pl.col("len") > 1).height
        found = [f"{duplicates} values of ({', '.join(self.key)}) occur more than once"] if duplicates else []
        found += [message for column in self.columns for message in _column_violations(frame[column.name], column)]
        return found + _reason_violations(frame) if self.says_how_clips_end else found


def _column_violations(series: pl.Series, column: Column) -> list[str]:
    found = []
    if not column.nullable and series.null_count():
        found.append(f"{column.name}: {series.null_count()} NULL")
    present = series.drop_nulls()
    if series.dtype.is_float() and not present.is_finite().all():
        found.append(f"{column.name}: not finite")
    if column.minimum is not None and (present < column.minimum).any():
        found.append(f"{column.name}: below {column.minimum}")
    if column.maximum is not None and (present > column.maximum).any():
        found.append(f"{column.name}: above {column.maximum}")
    if column.one_of and not present.is_in(list(column.one_of)).all():
        strange = present.filter(~present.is_in(list(column.one_of))).unique().to_list()
        found.append(f"{column.name}: {', '.join(map(str, strange))} not in the closed list")
    return found


def _reason_violations(frame: pl.DataFrame) -> list[str]:
    found = []
    for status, reason in frame.select("status", "reason").unique().rows():
        allowed = REASONS[Status(status)] if status in Status._value2member_map_ else {}
        if (reason is None) != (status == Status.OK) or (reason is not None and reason not in allowed):
            found.append(f"status {status} with reason {reason}")
    return found
