"""The moments at which a run judges: every few updates on its way, and at its end; the model as trained, then as averaged.

Belongs here: the order of judging, drawing, writing and telling. Not here: what judges (`validation_loss`), which checkpoints are
kept and which is best (`checkpoint_retention`), who draws (an `Onlooker`: LaFID's is in `resources.trainer`).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model.face_branch.trainable import FusedModel
from model.likeness import Likeness
from model.release.checkpoint import Manifest, read_manifest, write_checkpoint
from model.training.checkpoint_retention import AVERAGED_CHECKPOINTS, CHECKPOINTS, keep_checkpoint, name_of_step
from model.training.lockstep import follow, leading
from model.training.state import TrainState, naming_disk_errors
from model.training.validation_loss import Judge

STATES = "state"
"""Folder of a run's states, in that of the run."""
LAST, AVERAGED = "checkpoint", "checkpoint_ema"
"""Folders of the finished checkpoints: as trained, and averaged."""


class DrawingStopped(Exception):
    """The run shall end, and does not wait for a drawing; the model is judged anew when the run goes on."""


class Onlooker(Protocol):
    """Looks at every judged model, on one process."""

    @property
    def draws(self) -> bool:
        """Whether it will draw at all; else the base comes without what only drawing needs."""
        ...

    def draw(self, model: FusedModel, manifest: Manifest, run_dir: Path) -> Likeness | None:
        """Lets the model draw held-out persons; None where it draws none, or not all that it should.

        Args:
            model: in evaluation mode. Where processes share its weights, the others compute along whatever is drawn.
            manifest: of its checkpoint, as far as it is judged without drawing.
            run_dir: the run's folder.

        Raises:
            DrawingStopped: the run shall end.
        """
        ...

    def tell(self, manifest: Manifest, run_dir: Path) -> None:
        """Hears the whole judgement; again where a run that was killed passes the step again."""
        ...


@dataclass(frozen=True)
class Judging:
    """Validation in one run. `keep`: called with a folder of checkpoints that has changed."""

    run_dir: Path
    judge: Judge
    onlooker: Onlooker | None
    loss_before: float
    keep: Callable[[Path], None]

    def on_the_way(self, model: FusedModel, state: TrainState, step: int) -> None:
        """Judges the model after `step` updates and keeps it as a checkpoint by rule."""
        with suppress(DrawingStopped):  # whoever asked for the end is asked next, by the loop
            self._keep(model, step, averaged=False)
            if state.average is not None:
                with state.average.in_place_of(state.parameters):
                    self._keep(model, step, averaged=True)
        self.judge.ranks.wait()

    def at_the_end(self, model: FusedModel, state: TrainState) -> bool:
        """Judges the finished model and writes it; the one as trained last, whose folder says that the run is over.

        Returns:
            Whether it is written: the run may have been asked to end while it drew.
        """
        written = False
        with suppress(DrawingStopped):
            if state.average is not None:
                with state.average.in_place_of(state.parameters):
                    self._finish(model, averaged=True)
            self._finish(model, averaged=False)
            written = True
        return not self.judge.ranks.any(not written)

    def _keep(self, model: FusedModel, step: int, *, averaged: bool) -> None:
        folder = self.run_dir / (AVERAGED_CHECKPOINTS if averaged else CHECKPOINTS)
        manifest = self._judged(model, step, folder / name_of_step(step), averaged=averaged)
        if manifest is None:
            return
        with naming_disk_errors(f"the checkpoint of step {step} in {folder}", self.run_dir / STATES):
            keep_checkpoint(folder, model, manifest, self.judge.preset.train.keep_checkpoints)
        self.keep(folder)
        if self.onlooker is not None:
            self.onlooker.tell(manifest, self.run_dir)

    def _finish(self, model: FusedModel, *, averaged: bool) -> None:
        folder = self.run_dir / (AVERAGED if averaged else LAST)
        train = self.judge.preset.train
        manifest = self._judged(model, train.steps, folder, averaged=averaged)
        if manifest is None:
            return
        if self.onlooker is not None and train.validate_every:
            self.onlooker.tell(manifest, self.run_dir)  # first: nothing comes after a checkpoint that says the run is over
        if not folder.is_dir():
            with naming_disk_errors(f"checkpoint {folder}", self.run_dir / STATES):
                write_checkpoint(folder, model, manifest)

    def _judged(self, model: FusedModel, step: int, written: Path, *, averaged: bool) -> Manifest | None:
        """As a run that was killed has written it there, else anew; None on processes that do not lead, which judge in step."""
        manifest = self.judge.manifest(model, step, self.loss_before, averaged=averaged)
        train, ranks = self.judge.preset.train, self.judge.ranks
        if not ranks.leads:
            if not follow(model, train, ranks):
                raise DrawingStopped
            return None
        with leading(model, train, ranks):
            if written.is_dir():
                return read_manifest(written)
            if self.onlooker is None or train.validate_every is None:
                return manifest
            return manifest.after_drawing(self.onlooker.draw(model, manifest, self.run_dir))
