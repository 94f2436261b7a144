"""What the terminal shows: progress while Dagster works, the funnel, one-line errors.

Belongs here: rich. Not here: anything that computes.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from model.files import whole_file

CONSOLE = Console(highlight=False)
ERRORS = Console(stderr=True, highlight=False)


class _StatusLine(logging.Handler):
    """Puts the newest line of the `lafid` logger beside the spinner; warnings stay on the screen."""

    def __init__(self, status: Status, label: str) -> None:
        super().__init__(logging.INFO)
        self.status, self.label = status, label

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            CONSOLE.print(record.getMessage(), style="yellow", markup=False)
        else:
            self.status.update(f"{escape(self.label)}  [dim]{escape(record.getMessage())}[/]")


@contextmanager
def working(label: str) -> Iterator[None]:
    """Show a spinner with the newest progress line until the block ends."""
    logger = logging.getLogger("lafid")
    with CONSOLE.status(escape(label)) as status:
        handler = _StatusLine(status, label)
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def show_missing(list_path: Path, found: int, missing: Sequence[str], report: Path) -> None:
    """How many clips of a list are there; the others by name, a few on the screen and all in `report` (CSV)."""
    CONSOLE.print(f"{list_path}: {found} clips are here, {len(missing)} are missing", soft_wrap=True, markup=False)
    with whole_file(report) as temporary:
        pl.DataFrame({"missing": missing}, schema={"missing": pl.String}).write_csv(temporary)
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        CONSOLE.print(f"missing: {some} (all of them: {report})", soft_wrap=True, markup=False)


def show_funnel(funnel: Mapping[str, Any]) -> None:
    """The funnel as a table whose last line is the sum.

    Args:
        funnel: as `dataset.funnel.as_object` gives it.
    """
    table = Table(title=f"Funnel of dataset {funnel['dataset_version']}", show_footer=True)
    lines = [("kept", "", funnel["kept"])]
    for status in ("rejected", "error", "skipped"):
        lines += [(status, reason, clips) for reason, clips in funnel[status].items()]
    lines += [("timeout", "", funnel["timeout"])] if funnel["timeout"] else []
    total = sum(clips for *_, clips in lines)
    table.add_column("outcome", footer="sum")
    table.add_column("reason", footer=f"{funnel['in']} clips in" + ("" if total == funnel["in"] else " (DIFFERS)"))
    table.add_column("clips", justify="right", footer=str(total))
    for outcome, reason, clips in lines:
        table.add_row(outcome, reason, str(clips))
    CONSOLE.print(table)
