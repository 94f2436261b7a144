"""What the terminal shows: progress while Dagster works, the funnel, one-line errors.

Belongs here: rich, and where a traceback goes. Not here: anything that computes, an error in words (`failure_line`).
"""

import json
import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from model.files import whole_file
from resources.secrets import without_secrets
from resources.settings import Settings

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, but tabs and ends of lines; and what turns the order of letters around."""


class PlainConsole(Console):
    """A terminal that shows captions, file names and details to the letter: it obeys no control character or markup in them."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Does what rich does; a line of text is broken by the terminal, if by anybody."""
        is_text = all(isinstance(shown, str | Text) for shown in objects)
        super().print(*objects, **{"soft_wrap": is_text} | options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Does what rich does, without control characters in what is text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=legible(segment.text))


def legible(text: str) -> str:
    """The text with a `?` for every control character."""
    return _CONTROLS.sub("?", text)


CONSOLE = PlainConsole()
ERRORS = PlainConsole(stderr=True)
SECONDS_BETWEEN_PLAIN_LINES = 60.0
Found = TypeVar("Found")


def answer(found: Found, show: Callable[[Found], None], *, as_json: bool) -> None:
    """What a command found: as JSON, in one line, which is the last thing on stdout; or as `show` puts it for a person."""
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        show(found)


class _Shown(logging.Handler):
    """Keeps the newest line of the `lafid` logger; warnings go to the screen at once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.newest = "begun"

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            CONSOLE.print(record.getMessage(), style="yellow")
        else:
            self.show(record.getMessage())

    def show(self, line: str) -> None:
        """Show how far the work is."""
        self.newest = line


class _StatusLine(_Shown):
    """Puts the newest line beside the spinner."""

    def __init__(self, status: Status, label: str) -> None:
        super().__init__()
        self.status, self.label = status, label

    def show(self, line: str) -> None:
        self.status.update(f"{escape(self.label)}  [dim]{escape(line)}[/]")


@contextmanager
def _on_terminal(label: str) -> Iterator[_Shown]:
    with CONSOLE.status(escape(label)) as status:
        yield _StatusLine(status, label)


@contextmanager
def _on_plain_log(label: str) -> Iterator[_Shown]:
    """The newest line again and again, so that a log that nobody watches says whether the work goes on."""
    shown, ended = _Shown(), threading.Event()

    def tell() -> None:
        told = True
        while told:
            CONSOLE.print(f"{label}: {shown.newest}")
            told = not ended.wait(SECONDS_BETWEEN_PLAIN_LINES)

    teller = threading.Thread(target=tell, name="plain log", daemon=True)
    teller.start()
    try:
        yield shown
    finally:
        ended.set()
        teller.join()


@contextmanager
def working(label: str) -> Iterator[None]:
    """Show the newest progress line until the block ends: beside a spinner, and on a plain log every minute."""
    logger = logging.getLogger("lafid")
    with (_on_terminal if CONSOLE.is_terminal else _on_plain_log)(label) as handler:
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
    CONSOLE.print(f"{list_path}: {found} clips are here, {len(missing)} are missing")
    with whole_file(report) as temporary:
        pl.DataFrame({"missing": missing}, schema={"missing": pl.String}).write_csv(temporary)
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        CONSOLE.print(f"missing: {some} (all of them: {report})")


def show_unjudged(unjudged: Mapping[str, int]) -> None:
    """Rule to the kept clips that it did not judge."""
    if unjudged:
        listed = ", ".join(f"{rule} ({clips} clips)" for rule, clips in unjudged.items())
        CONSOLE.print(f"kept but not judged, for want of the measure: {listed}", style="yellow")


def show_funnel(funnel: Mapping[str, Any]) -> None:
    """The funnel as a table whose last line is the sum. `funnel`: as `cli.funnel.read_funnel` gives it."""
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
    if funnel["recordings"]:
        CONSOLE.print(f"files with cuts: {funnel['recordings']}, whose {funnel['shots']} shots are clips of their own")
    show_unjudged(funnel["unjudged"])


def keep_traceback() -> None:
    """The error that is being handled, whole, in the home; its place goes to the screen."""
    settings = Settings.from_environment()
    if not settings.home.is_dir():  # a question at a mistyped home makes none
        return
    log = settings.logs / "last-error.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(without_secrets(traceback.format_exc()))
    except OSError:
        return  # the home itself is the trouble, and the line above says so
    ERRORS.print(f"details: {log}", style="dim")
