"""Frames that a statement may name."""

import weakref

import duckdb
import polars as pl
import pytest

from resources.lake import frames
from resources.lake.duckdb_extensions import duckdb_cursor
from resources.lake.frames import lent


def test_what_duckdb_reads_in_pieces_is_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named twice in a statement, with all kinds of values, and without a row."""
    monkeypatch.setattr(frames, "ROWS_AT_ONCE", 3)
    frame = pl.DataFrame(
        {
            "n": range(10),
            "text": ["a", None, *"bcdefghi"],
            "numbers": [[0.5, None], None, *[[float(n)] for n in range(8)]],
            "inner": [{"a": [1, 2], "b": "x"}, None, *[{"a": [], "b": str(n)} for n in range(8)]],
            "nothing": pl.Series([None] * 10, dtype=pl.Int32),
        }
    )
    cursor = duckdb_cursor(())
    for rows in (frame, frame.clear()):
        with lent(cursor, one=rows, other=frame):
            assert cursor.execute("FROM one ORDER BY n").pl().equals(rows)
            assert (
                cursor.execute("SELECT n FROM one SEMI JOIN one again USING (n) JOIN other USING (n)").pl().height == rows.height
            )
        with pytest.raises(duckdb.Error, match="one"):
            cursor.execute("FROM one")


def test_nothing_of_them_is_held_in_the_rest_of_the_transaction() -> None:
    cursor = duckdb_cursor(())
    cursor.execute("BEGIN")
    frame = pl.DataFrame({"n": [1]})
    held = weakref.ref(frame)
    with lent(cursor, rows=frame):
        assert cursor.execute("FROM rows").fetchall() == [(1,)]
    del frame
    assert held() is None
    cursor.execute("ROLLBACK")
