"""Who keeps a run's folder beyond this disk, so that another machine can go on with the run.

Belongs here: what `train` asks of it. Not here: any place to keep it in (LaFID's is in `resources.trainer`).
"""

from pathlib import Path
from typing import Protocol


class Keeper(Protocol):
    """Keeps the folders of runs elsewhere, too."""

    def fetch(self, run_dir: Path) -> None:
        """Brings here what is kept of a run and whole, before any of it is read; asked once a machine."""
        ...

    def keep(self, folder: Path) -> None:
        """Keeps the run's folder, or one in it, as it is now; asked by one process: of the states on a thread beside training, of
        the checkpoints when one is judged, of all at the end. What cannot be kept now is kept later: training goes on."""
        ...
