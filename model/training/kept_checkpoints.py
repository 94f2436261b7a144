"""The judged checkpoints on a run's way: written, kept by rule, and the best of them found.

Belongs here: the rule (the newest few and the best one) over the folder in which they lie. Not here: what a checkpoint is
(`release.checkpoint`), what judges it (`judge`).

`folder`/step-... each, as whole as the finished one. The rule looks at the folder alone: a checkpoint that it removes is
neither among the newest nor the best of any later folder, so a run that was killed and passes the same steps again ends with
the same checkpoints.
"""

import logging
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from model.face_branch.trainable import FusedModel
from model.release.checkpoint import CheckpointError, Manifest, read_manifest, verify_checkpoint, write_checkpoint

CHECKPOINTS = "checkpoints"
"""Their folder in that of the run."""
_LOGGER = logging.getLogger("lafid.training")


def checkpoints_in(folder: Path) -> list[Path]:
    """All of them, by step."""
    return sorted(folder.glob("step-*"))


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
    target = folder / f"step-{manifest.step:07d}"
    if not target.is_dir():
        write_checkpoint(target, model, manifest)
    every = checkpoints_in(folder)
    kept = {best_of(every), *every[-newest:]}
    for checkpoint in every:
        if checkpoint not in kept:
            _remove(checkpoint)


def best_of(checkpoints: Iterable[Path]) -> Path | None:
    """That of the lowest validation loss, of equals the earliest; None where none was judged."""
    manifests = {checkpoint: read_manifest(checkpoint) for checkpoint in checkpoints}
    judged = [
        (found.validation_loss, found.step, checkpoint)
        for checkpoint, found in manifests.items()
        if found.validation_loss is not None
    ]
    return min(judged)[-1] if judged else None


def _remove(checkpoint: Path) -> None:
    """Out of sight first: a kill while files go must not leave half a checkpoint."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.{uuid.uuid4().hex}")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)
