"""`lafid query "SQL"`: a question to the published tables, answered on the screen or as CSV or JSON."""

import sys

import duckdb
from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.cli.published import open_published
from resources.settings import Settings

MOST_SHOWN_ROWS = 100


class QueryFailed(ValueError):
    """The question cannot be answered; the message says why."""


def run_query(settings: Settings, sql: str, form: str) -> None:
    """Run one statement read-only and show what it returns.

    Args:
        form: "table" (at most 100 rows), "csv" or "json" (all of them).

    Raises:
        QueryFailed: DuckDB refuses the statement.
    """
    with open_published(settings) as published:
        try:
            rows = published.connection.sql(sql).pl()
        except (duckdb.Error, AttributeError) as error:  # a statement without a result gives no relation
            raise QueryFailed(f"{error}; tables: {', '.join(sorted(published.names))}") from error
    if form == "csv":
        sys.stdout.write(rows.write_csv())
    elif form == "json":
        sys.stdout.write(rows.write_json() + "\n")
    else:
        table = Table(*rows.columns)
        for row in rows.head(MOST_SHOWN_ROWS).iter_rows():
            table.add_row(*("" if value is None else str(value) for value in row))
        CONSOLE.print(table)
        if rows.height > MOST_SHOWN_ROWS:
            CONSOLE.print(f"the first {MOST_SHOWN_ROWS} of {rows.height} rows: --csv or --json gives all", style="dim")
