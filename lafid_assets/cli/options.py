"""What several of `lafid`'s commands are told alike.

Belongs here: such options, and the settings that follow from them. Not here: options of one command.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from lafid_assets.cli.display import CONSOLE
from resources.settings import Settings

Home = Annotated[Path | None, typer.Option(help="Where state lives; default $LAFID_HOME, else .lafid/ in the checkout.")]


def _alone(asked: bool) -> bool:
    """The object alone goes to stdout: progress, notes and warnings go to stderr."""
    CONSOLE.stderr = asked
    return asked


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_alone, help="JSON alone on stdout, in one line; everything else that is said goes to stderr."
    ),
]


def settings_of(home: Path | None) -> Settings:
    """The installation in `home`, for this process and its children."""
    if home is not None:
        os.environ["LAFID_HOME"] = str(home)  # for the children, and for where the traceback goes
    # Read when torch loads, here and in children: threads that spin while they wait starve each other on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return Settings.from_environment()
