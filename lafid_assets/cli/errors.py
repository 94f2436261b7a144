"""What a command says when it fails: one line on the screen, the traceback in a file.

Belongs here: errors in words. Not here: when a command fails (`main`).
"""

import traceback

from lafid_assets.cli.display import ERRORS
from resources.secrets import without_secrets
from resources.settings import Settings

DISK_FULL = ("No space left on device", "database or disk is full", "disk I/O error")


def one_line(error: Exception) -> str:
    """The thing and its remedy."""
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed: install lafid with its extras, `pip install 'lafid[all]'`"
    text = " ".join(without_secrets(str(error)).split()) or type(error).__name__
    signs = [sign for sign in DISK_FULL if sign in text]  # wrapped by SQLAlchemy, DuckDB or Dagster, hence by their words
    if signs:
        home = Settings.from_environment().home
        return f"the disk of the home {home} is full ({signs[0]}): free some space, or set LAFID_HOME to another disk"
    return text


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
    ERRORS.print(f"details: {log}", style="dim", soft_wrap=True, markup=False)
