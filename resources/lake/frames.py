"""Frames of polars as tables that a statement may name.

Belongs here: lending a frame to DuckDB. Not here: what is asked (`reader`), what is written (`writer`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

ROWS_AT_ONCE = 50_000


class _Lent:
    """A frame as DuckDB reads it, a piece at a time.

    DuckDB keeps what a transaction named to its end, and would turn a whole frame into Arrow: a million files lay three
    times in memory while they were registered.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        pieces = (batch for piece in self.frame.iter_slices(ROWS_AT_ONCE) for batch in piece.to_arrow().to_batches())
        reader = pa.RecordBatchReader.from_batches(self.frame.clear().to_arrow().schema, pieces)
        return reader.__arrow_c_stream__(requested_schema)


@contextmanager
def lent(cursor: duckdb.DuckDBPyConnection, **frames: pl.DataFrame) -> Iterator[None]:
    """Statements of the cursor may name the frames inside, and nothing of them is held afterwards."""
    tables = {name: _Lent(frame) for name, frame in frames.items()}
    for name, table in tables.items():
        cursor.register(name, table)
    try:
        yield
    finally:
        for name, table in tables.items():
            cursor.unregister(name)
            table.frame = table.frame.clear()
