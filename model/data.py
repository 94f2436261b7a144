"""Cached clips: the file format that curation writes and training reads, and the order in which a run reads them.

Belongs here: one clip's file, a run's clips in memory, batches as a pure function of (seed, step). Not here: how the tensors
come about (`encoders`), noise and sigma (`flow`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.experts import FaceFeatures
from model.files import sha256_file, whole_file
from model.flow import generator
from model.head_mask import MaskInfo
from model.presets import TEXT_ROWS
from model.views import FaceViews

_META_KEY = "lafid_clip"
_TENSORS = ("latents", "text", "null_text", "identity", "semantic", "detail")
_VIEW_PREFIX = "views."


class DataError(ValueError):
    """Cached clips are missing, torn, or do not belong together."""


class ClipMeta(BaseModel):
    """What a clip's file says about itself. Curation may add strings of its own under `extra`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_id: str
    caption: str
    fps: float = Field(gt=0, description="frames a second of the cached frames")
    face_engine: str = Field(description="name of the engine that gave the identity embedding")
    face_engine_version: str
    identity_id: str | None = Field(None, description="the person; None: somebody who is in no other clip")
    base_sha256: str = Field(description="the base whose encoders were used")
    encoders_fingerprint: str
    head_mask: MaskInfo = Field(default_factory=MaskInfo, description="what cut its reference heads out")
    extra: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """One clip, everything frozen already run; float tensors on the CPU."""

    latents: torch.Tensor  # (C, T, h, w)  normalised
    text: torch.Tensor  # (L, D)           real rows only, L <= 512
    null_text: torch.Tensor  # (N, D)      the empty caption, for guidance
    identity: torch.Tensor  # (E,)         unit length
    semantic: torch.Tensor  # (S, D_s)
    detail: torch.Tensor  # (P, D_d)
    meta: ClipMeta
    views: FaceViews | None = None  # of the clip's own face; the first is the one that identity, semantic and detail tell of

    @property
    def person(self) -> str:
        """Who it is, as far as is known."""
        return self.meta.identity_id or f"clip {self.meta.clip_id}"


class Batch(NamedTuple):
    """Clips side by side, text padded to the 512 rows that the transformer expects."""

    latents: torch.Tensor  # (B, C, T, h, w)
    text: torch.Tensor  # (B, 512, D)
    face: FaceFeatures
    clip_ids: tuple[str, ...]
    references: torch.Tensor | None = None  # (B, R, C, h, w)  views of each clip's face

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return self._replace(
            latents=self.latents.to(device),
            text=self.text.to(device),
            face=self.face.to(device),
            references=None if self.references is None else self.references.to(device),
        )


def write_clip_latents(path: Path, clip: ClipLatents) -> None:
    """One clip as one safetensors file, whole or not at all; `meta` as JSON in its header."""
    tensors = {name: getattr(clip, name) for name in _TENSORS}
    if clip.views is not None:
        tensors |= {_VIEW_PREFIX + name: value for name, value in clip.views._asdict().items()}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with whole_file(path) as temporary:
        save_file(whole, temporary, metadata={_META_KEY: clip.meta.model_dump_json()})


def read_clip_latents(path: Path) -> ClipLatents:
    """The clip that `write_clip_latents` wrote.

    Raises:
        DataError: the file is missing, torn, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
            has_views = any(name.startswith(_VIEW_PREFIX) for name in file.keys())  # noqa: SIM118
            views = FaceViews(*(file.get_tensor(_VIEW_PREFIX + name) for name in FaceViews._fields)) if has_views else None
        return ClipLatents(**tensors, meta=ClipMeta(**json.loads(header[_META_KEY])), views=views)
    except (OSError, SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is no readable cached clip ({error}): encode it again") from error


class ClipSet:
    """A run's clips in memory, checked to belong together, in the order of their ids whatever the order of the files.

    Raises:
        DataError: there are none; or they differ in size, engine or base, in which case both files are named.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        if not files:
            raise DataError("no cached clips to train on: materialize training_latents, or loosen the policies before it")
        read = sorted(((file, read_clip_latents(file)) for file in files), key=lambda pair: pair[1].meta.clip_id)
        self.files = tuple(file for file, _ in read)
        self.clips = tuple(clip for _, clip in read)
        for file, clip in read:
            _check_alike(*read[0], file, clip)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def meta(self) -> ClipMeta:
        """The first clip's: engine, base and encoders are the same for all."""
        return self.clips[0].meta

    def digests(self) -> list[str]:
        """SHA-256 of every file, in order: what a run's digest knows of its data."""
        return [sha256_file(file) for file in self.files]

    def batch(
        self, indices: Sequence[int], drop_text: Sequence[bool] | None = None, views: Sequence[Sequence[int]] | None = None
    ) -> Batch:
        """The clips of these indices.

        Args:
            indices: which.
            drop_text: where it says so, with the empty caption.
            views: of each clip, which of its views are references, equally many of each; None: no references.

        Raises:
            DataError: references are asked of a clip that was cached without views.
        """
        dropped = drop_text or [False] * len(indices)
        clips = [self.clips[index] for index in indices]
        texts = [clip.null_text if drop else clip.text for clip, drop in zip(clips, dropped, strict=True)]
        angles = [clip.views.angles_deg[0] for clip in clips if clip.views is not None]
        references = None
        if views is not None:
            shown = zip(indices, views, strict=True)
            references = torch.stack([self.views(index).latents[list(chosen)] for index, chosen in shown])
        return Batch(
            latents=torch.stack([clip.latents for clip in clips]),
            text=torch.stack([F.pad(text, (0, 0, 0, TEXT_ROWS - text.shape[0])) for text in texts]),
            face=FaceFeatures(
                identity=torch.stack([clip.identity for clip in clips]),
                semantic=torch.stack([clip.semantic for clip in clips]),
                detail=torch.stack([clip.detail for clip in clips]),
                angles_deg=torch.stack(angles) if len(angles) == len(clips) else None,
            ),
            clip_ids=tuple(clip.meta.clip_id for clip in clips),
            references=references,
        )

    def views(self, index: int) -> FaceViews:
        """The views of one clip's face.

        Raises:
            DataError: it was cached without.
        """
        found = self.clips[index].views
        if found is None:
            raise DataError(f"{self.files[index]} holds no views of the face: materialize training_latents again")
        return found


def batch_indices(clips: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Which clips step number `step` sees: a window on the endless row of shuffled epochs.

    Within an epoch every clip comes once, and none is dropped where the batch size does not divide their number.
    """
    indices = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, offset = divmod(position, clips)
        indices.append(int(torch.randperm(clips, generator=generator(seed, "order", epoch))[offset]))
    return indices


def _check_alike(first_file: Path, first: ClipLatents, file: Path, clip: ClipLatents) -> None:
    for what, expected, found in (
        ("size (C, T, h, w)", tuple(first.latents.shape), tuple(clip.latents.shape)),
        ("face engine", first.meta.face_engine, clip.meta.face_engine),
        ("identity width", first.identity.shape[0], clip.identity.shape[0]),
        ("base", first.meta.base_sha256[:12], clip.meta.base_sha256[:12]),
        ("encoders", first.meta.encoders_fingerprint[:12], clip.meta.encoders_fingerprint[:12]),
        ("head mask", str(first.meta.head_mask), str(clip.meta.head_mask)),
        ("views of the face", first.views is not None, clip.views is not None),
    ):
        if expected != found:
            raise DataError(f"{file} has {what} {found}, {first_file} has {expected}: encode them alike")
