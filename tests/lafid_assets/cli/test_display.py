"""What the terminal shows."""

import io
import logging
import re
import threading
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from lafid_assets.cli import display
from lafid_assets.cli.display import show_funnel, working

FUNNEL = {
    "in": 3,
    "kept": 1,
    "rejected": {"no_face": 1},
    "error": {},
    "timeout": 1,
    "skipped": {},
    "dataset_version": "v",
    "recordings": 0,
    "shots": 0,
    "unjudged": {},
}


def test_sum_that_differs_is_shouted(capsys: pytest.CaptureFixture[str]) -> None:
    show_funnel(FUNNEL)
    assert "DIFFERS" not in capsys.readouterr().out
    show_funnel(FUNNEL | {"in": 4, "recordings": 1, "shots": 3})
    shown = capsys.readouterr().out
    assert "4 clips in (DIFFERS)" in shown
    assert "files with cuts: 1, whose 3 shots are clips of their own" in shown


def test_rules_that_nobody_could_judge_by_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    show_funnel(FUNNEL)
    assert "not judged" not in capsys.readouterr().out
    show_funnel(FUNNEL | {"unjudged": {"aesthetic_low": 2}})
    assert "not judged, for want of the measure: aesthetic_low (2 clips)" in capsys.readouterr().out


def test_warnings_stay_on_the_screen_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with working("doing [it]"):
        logging.getLogger("lafid.test").warning("no pictures of [a] [/b]")
    assert "no pictures of [a] [/b]" in capsys.readouterr().out


OBEYED = ("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x08", "\u202e")


def test_the_terminal_obeys_nothing_in_texts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither control characters nor rich's own markup, in lines, tables, titles, logs and the line beside the spinner."""
    said = f"[red]a[/]{''.join(OBEYED)}[link=http://evil]b[/]"
    table = Table(said, title=said)
    table.add_row(said)
    table.add_row(Text(said, overflow="fold"))
    screen = io.StringIO()
    monkeypatch.setattr(display.CONSOLE, "_force_terminal", True)
    monkeypatch.setattr(display.CONSOLE, "_file", screen)
    monkeypatch.setattr(display.CONSOLE, "_color_system", None)
    monkeypatch.setattr(display.CONSOLE, "_width", 200)
    display.CONSOLE.print(table)
    display.CONSOLE.print(said)
    with working(said):
        logging.getLogger("lafid.test").info(said)
        logging.getLogger("lafid.test").warning(said)
    shown = screen.getvalue()
    assert shown.count("[red]a[/]?[31m?]0;title?2J") >= 6
    assert not [code for code in OBEYED if code in shown]


def test_every_console_is_one_that_obeys_nothing() -> None:
    cli = Path(display.__file__).parent
    makers = [path.name for path in cli.glob("*.py") if re.search(r"(?<!Plain)Console\(", path.read_text())]
    assert makers == []


def test_logger_is_left_as_it_was() -> None:
    logger = logging.getLogger("lafid")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with pytest.raises(RuntimeError), working("doing"):
        raise RuntimeError
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_plain_log_says_again_and_again_how_far_the_work_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "SECONDS_BETWEEN_PLAIN_LINES", 0.01)
    said = ""
    with working("doing [it]"):
        logging.getLogger("lafid.test").info("1 of 3, about 7 s left")
        while said.count("doing [it]: 1 of 3, about 7 s left\n") < 2:
            said += capsys.readouterr().out
    assert not any(thread.name == "plain log" for thread in threading.enumerate())


def test_a_block_that_is_done_at_once_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    with working("doing"):
        pass
    assert capsys.readouterr().out == "doing: begun\n"
