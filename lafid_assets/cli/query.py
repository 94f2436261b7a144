"""`lafid query "SQL"`: a question to the lake, answered on the screen or as CSV or JSON."""

import sys
from typing import Any

import duckdb
import polars as pl
from rich.table import Table
from rich.text import Text

from lafid_assets.cli.display import CONSOLE, legible
from lafid_assets.lake import open_lake
from resources.settings import Settings

MOST_SHOWN_ROWS = 100
ANY_WIDTH = 10_000


def run_query(settings: Settings, sql: str, form: str) -> None:
    """Run one statement read-only and show what it returns. `form`: "table" (at most 100 rows), "csv" or "json" (all of them)."""
    with open_lake(settings, read_only=True).snapshot() as reader:
        try:
            rows = reader.cursor.execute(sql).pl()
        except duckdb.Error as error:
            raise ValueError(f"{error}; tables: {', '.join(sorted(reader.tables))}") from error
    if form == "csv":
        _write(rows.write_csv())
    elif form == "json":
        _write(rows.write_json() + "\n")
    else:
        _show(rows.head(MOST_SHOWN_ROWS))
        if rows.height > MOST_SHOWN_ROWS:
            CONSOLE.print(f"the first {MOST_SHOWN_ROWS} of {rows.height} rows: --csv or --json gives all", style="dim")


def _write(text: str) -> None:
    """Programs get the table to the letter; a terminal obeys nothing that a caption says."""
    sys.stdout.write(legible(text) if sys.stdout.isatty() else text)


def _show(rows: pl.DataFrame) -> None:
    """A table; where its columns have no room for whole words, such as a clip's id, each row by itself, a line a column."""
    table = Table()
    for name in rows.columns:
        table.add_column(Text(name))
    for row in rows.iter_rows():
        table.add_row(*map(_cell, row))
    if CONSOLE.measure(table, options=CONSOLE.options.update_width(ANY_WIDTH)).minimum <= CONSOLE.width:
        CONSOLE.print(table)
        return
    for number, row in enumerate(rows.iter_rows(), 1):
        record = Table(title=f"row {number}", title_justify="left", show_header=False)
        for name, value in zip(rows.columns, row, strict=True):
            record.add_row(Text(name, no_wrap=True), _cell(value))
        CONSOLE.print(record)


def _cell(value: Any) -> Text:
    """Words to the letter, brackets included; of a list as much as a line holds."""
    if value is None:
        return Text("")
    is_text = isinstance(value, str)
    return Text(legible(str(value)), no_wrap=not is_text, overflow="fold" if is_text else "ellipsis")
