"""The judged checkpoints on a run's way: written, kept by rule, and the best of them found.

Belongs here: the rule (the newest few and the best one) over the folder in which they lie. Not here: what a checkpoint is
(`release.checkpoint`), what judges it (`validation_loss`).

`folder`/step-... each, as whole as the finished one; those of the moving average have a folder of their own and a best of their
own. The best is found so:

1. Where checkpoints have a likeness, only those are compared, and of them only those that drew the newest one's persons.
2. One that draws no face at all comes after all that draw one. Then the mean likeness over all frames decides, in which a frame
   without a face counts 0.
3. Of equals, and where none has a likeness, the lower validation loss is better; of equals the earlier.

The rule looks at the folder alone: a checkpoint that it removes is neither among the newest nor the best of any later folder, so
a run that was killed and passes the same steps again ends with the same checkpoints.
"""

import logging
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from model.face_branch.trainable import FusedModel
from model.release.checkpoint import CheckpointError, Manifest, read_manifest, verify_checkpoint, write_checkpoint

CHECKPOINTS, AVERAGED_CHECKPOINTS = "checkpoints", "checkpoints_ema"
"""Their folders in that of the run: as trained, and averaged."""
_LOGGER = logging.getLogger("lafid.training")


def name_of_step(step: int) -> str:
    """Name of the checkpoint after that many updates."""
    return f"step-{step:07d}"


def checkpoints_in(folder: Path) -> list[Path]:
    """All of them, by step."""
    return sorted(folder.glob("step-*"))


def kept_in(run_dir: Path) -> list[Path]:
    """All of a run, as trained and averaged."""
    return [checkpoint for name in (CHECKPOINTS, AVERAGED_CHECKPOINTS) for checkpoint in checkpoints_in(run_dir / name)]


def sweep_torn(folder: Path) -> None:
    """Takes away what is not whole, by name, so that a run that passes there again can write it anew."""
    for checkpoint in checkpoints_in(folder):
        try:
            verify_checkpoint(checkpoint)
        except CheckpointError as error:
            _LOGGER.warning("%s; it is removed, the checkpoints beside it stay", error)
            _remove(checkpoint)
    for left in folder.glob(".step-*"):  # by a kill, while it was written or removed
        shutil.rmtree(left)


def keep_checkpoint(folder: Path, model: FusedModel, manifest: Manifest, newest: int) -> None:
    """Writes the judged `model` unless a killed run has, then leaves the best checkpoint and the `newest` ones."""
    target = folder / name_of_step(manifest.step)
    if not target.is_dir():
        write_checkpoint(target, model, manifest)
    every = checkpoints_in(folder)
    kept = {best_of(every), *every[-newest:]}
    for checkpoint in every:
        if checkpoint not in kept:
            _remove(checkpoint)


def best_of(checkpoints: Iterable[Path]) -> Path | None:
    """The best by the rule above; None where none was judged."""
    found = [(read_manifest(checkpoint), checkpoint) for checkpoint in checkpoints]
    judged = [(manifest, checkpoint) for manifest, checkpoint in found if manifest.validation_loss is not None]
    drew = [(manifest.step, manifest.likeness.subjects) for manifest, _ in judged if manifest.likeness is not None]
    if drew:
        _, subjects = max(drew)
        judged = [one for one in judged if one[0].likeness is not None and one[0].likeness.subjects == subjects]
    return max(judged, key=lambda one: _merit(one[0]))[1] if judged else None


def _merit(manifest: Manifest) -> tuple[bool, float, float, int]:
    """Compared in order, the higher the better."""
    mean = None if manifest.likeness is None else manifest.likeness.mean
    assert manifest.validation_loss is not None
    return (mean is not None, mean or 0.0, -manifest.validation_loss, -manifest.step)


def _remove(checkpoint: Path) -> None:
    """Out of sight first: a kill while files go must not leave half a checkpoint."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.{uuid.uuid4().hex}")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)
