"""What a command says when it fails: one line on the screen, the traceback in a file.

Belongs here: where they go. Not here: an error in words (`failure_line`), when a command fails (`main`).
"""

import traceback

from lafid_assets.cli.display import ERRORS
from resources.secrets import without_secrets
from resources.settings import Settings


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
    ERRORS.print(f"details: {log}", style="dim", soft_wrap=True)
