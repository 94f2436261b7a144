"""Cached clips as training reads them: batches out of memory-mapped shards.

Belongs here: a run's clips, and batches of those that are named. Not here: files (`clip_list`, `latent_shards`), what a clip
consists of (`clip_parts`), how the tensors come about (`encoding.encoders`), which clips a step sees (`training.batch_sampler`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from model.bases.conditions import Condition
from model.clip_size import Bucket
from model.clips.clip_list import SHARDS, ClipEntry, ClipList, ClipMeta, DataError
from model.clips.clip_parts import CONDITION_TENSORS
from model.clips.latent_shards import ShardReader, ShardTorn
from model.clips.view_poses import ViewPoses
from model.encoding.face_features import FaceFeatures
from model.presets import TEXT_ROWS

Text = Literal["caption", "plain", "empty"]
"""What a clip is trained with: its caption; the same without the sentence on speech, where it has one; no words."""

_TEXT_PARTS: dict[Text, str] = {"caption": "text", "plain": "text_plain", "empty": "text_empty"}


class Batch(NamedTuple):
    """Clips of one bucket side by side, text padded to the 512 rows that the transformer expects; all in float32, whatever the
    dtype that it lies in."""

    latents: torch.Tensor  # (B, C, T', h, w)  means
    text: torch.Tensor  # (B, 512, D)
    face: FaceFeatures
    clip_ids: tuple[str, ...]
    references: torch.Tensor | None = None  # (B, R, C, h, w)  views of each clip's face
    spread: torch.Tensor | None = None  # (B, C, T', h, w)  standard deviations; None: the codec has no spread
    face_boxes: torch.Tensor | None = None  # (B, T', 4)  x1 y1 x2 y2 in shares of the frame; NaN: not seen; None: not cached
    condition: Condition | None = None  # what the base is given of pictures, where it takes some

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device)

        return self._replace(
            latents=self.latents.to(device),
            text=self.text.to(device),
            face=self.face.to(device),
            references=moved(self.references),
            spread=moved(self.spread),
            face_boxes=moved(self.face_boxes),
            condition=None if self.condition is None else self.condition.to(device),
        )

    def cut(self, latent_frames: int) -> "Batch":
        """The same clips up to that many latent frames; shorter ones stay as they are."""
        return self._replace(
            latents=self.latents[:, :, :latent_frames],
            spread=None if self.spread is None else self.spread[:, :, :latent_frames],
            face_boxes=None if self.face_boxes is None else self.face_boxes[:, :latent_frames],
            condition=None if self.condition is None else self.condition.cut(latent_frames),
        )


class ClipSet:
    """The clips of one split of a run, in the order of their ids. Only the list is in memory; tensors are read when asked for.

    Args:
        clip_list: as `clip_list.write_clip_list` wrote it, beside the folder of the shards.
        split: of the dataset.

    Attributes:
        clip_ids: in order.
        persons: who each clip shows; the same name for the same person.
        buckets: size to the indices of its clips; clips of different sizes do not go into one batch.
        poses: how many views each clip has, and how they are turned.

    Raises:
        DataError: there are none; or they differ in engine, base or encoders, in which case two clips are named.
    """

    def __init__(self, clip_list: Path, split: str = "train") -> None:
        self._list = ClipList(clip_list, split)
        self._shards = ShardReader(clip_list.parent / SHARDS)
        if not len(self._list):
            raise DataError(
                f"no cached clips of split {split} in {clip_list}: materialize training_latents, or loosen the policies before it"
            )
        self.clip_ids = tuple(self._list.column("clip_id"))
        persons = zip(self._list.column("identity_id"), self.clip_ids, strict=True)
        self.persons = tuple(person or f"clip {clip}" for person, clip in persons)
        sizes = self._list.buckets()
        buckets: dict[Bucket, list[int]] = {size: [] for size in sorted(set(sizes))}
        for index, size in enumerate(sizes):
            buckets[size].append(index)
        self.buckets: Mapping[Bucket, tuple[int, ...]] = {size: tuple(indices) for size, indices in buckets.items()}
        self.poses = ViewPoses(self._list.view_angles_deg())
        self._check_alike()

    def __len__(self) -> int:
        return len(self._list)

    @property
    def meta(self) -> ClipMeta:
        """The first clip's: engine, base and encoders are the same for all."""
        return self.entry(0).meta

    @property
    def digest(self) -> str:
        """What a run's digest knows of its data: ids, persons, sizes and the parts' keys."""
        return self._list.digest()

    def entry(self, index: int) -> ClipEntry:
        """What the list says of one clip."""
        return self._list.entries([index])[0]

    def identity(self, index: int) -> torch.Tensor:
        """(V, E): who each view of a clip's face is.

        Raises:
            DataError: its shard cannot be read.
        """
        return self._read(self.entry(index), "face", "identity")

    def batch(
        self,
        indices: Sequence[int],
        texts: Sequence[Text] | None = None,
        views: Sequence[Sequence[int]] | None = None,
        views_of: Sequence[int] | None = None,
        faces: Sequence[int] | None = None,
    ) -> Batch:
        """The clips of these indices, all of one bucket.

        Args:
            indices: which.
            texts: what each of them is told; the caption unless given.
            views: for each clip, which views are its references, equally many for each; None: no references.
            views_of: for each clip, whose views; its own unless given.
            faces: for each clip, which of its views conditions it: experts, aligner and VACE's picture alike; the first unless
                given.

        Raises:
            DataError: the clips differ in size or width, or a shard cannot be read.
        """
        entries = self._list.entries(indices)
        ids = tuple(entry.meta.clip_id for entry in entries)
        told = texts or ["caption"] * len(entries)
        rows = [self._text(entry, text) for entry, text in zip(entries, told, strict=True)]
        conditioning = list(zip(entries, faces or [0] * len(entries), strict=True))
        spreads = [self._find(entry, "video", "spread") for entry in entries]
        latents = _stack("latents", ids, [self._read(entry, "video", "mean") for entry in entries])
        spread = _stack_known("spread", ids, spreads)
        references = None
        if views is not None:
            shown = zip(entries if views_of is None else self._list.entries(views_of), views, strict=True)
            references = _stack(
                "references", ids, [self._read(entry, "views", "latents", chosen) for entry, chosen in shown]
            ).float()

        def of_faces(part: str, name: str) -> torch.Tensor:
            return _stack(part, ids, [self._read(entry, part, name, [view])[0] for entry, view in conditioning])

        return Batch(
            latents=latents,
            text=_stack("text", ids, [F.pad(text, (0, 0, 0, TEXT_ROWS - text.shape[0])) for text in rows]).float(),
            face=FaceFeatures(
                identity=of_faces("face", "identity"),
                semantic=of_faces("semantic", "states").float(),
                detail=of_faces("detail", "tokens").float(),
                angles_deg=torch.tensor([entry.angles_deg[view] for entry, view in conditioning]),
            ),
            clip_ids=ids,
            references=references,
            spread=None if spread is None else spread.to(latents.dtype),
            face_boxes=_stack_known("face boxes", ids, [self._find(entry, "face", "boxes") for entry in entries]),
            condition=self._condition(conditioning),
        )

    def posed_views(self, views: Mapping[int, Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of many clips' faces as the pose-shared aligner sees them: (V, clips, S, D_s) in the cache's bfloat16, and Euler
        angles (V, clips, 3).

        Each shard is opened once: of a thousand clips in any order most would find theirs closed again.

        Args:
            views: clip to V of its views.
        """
        entries = dict(zip(views, self._list.entries(list(views)), strict=True))
        by_shard = sorted(entries, key=lambda index: entries[index].parts["semantic"].shard)
        semantic = {index: self._read(entries[index], "semantic", "states", views[index]) for index in by_shard}
        angles_deg = [torch.from_numpy(self.poses.angles_deg(index, chosen)) for index, chosen in views.items()]
        return torch.stack([semantic[index] for index in views], dim=1), torch.stack(angles_deg, dim=1)

    def of_person(self, person: str) -> tuple[int, ...]:
        """The clips that show somebody of `persons`, ascending."""
        return self._of_person[person]

    @cached_property
    def _of_person(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for index, person in enumerate(self.persons):
            found.setdefault(person, []).append(index)
        return {person: tuple(indices) for person, indices in found.items()}

    def _condition(self, conditioning: Sequence[tuple[ClipEntry, int]]) -> Condition | None:
        """The condition of clips, from the views that condition them."""
        ids, found = [entry.meta.clip_id for entry, _ in conditioning], {}
        known: dict[str, list[torch.Tensor | None]] = {
            part: [self._read(entry, part, name) if part in entry.parts else None for entry, _ in conditioning]
            for part, name in CONDITION_TENSORS.items()
        }
        known["picture"] = [
            self._read(entry, "picture", "latents", [view])[0] if "picture" in entry.parts else None
            for entry, view in conditioning
        ]
        for part, tensors in known.items():
            if (stacked := _stack_known(part, ids, tensors)) is not None:
                found[part] = stacked.float()
        return Condition(**found) if found else None

    def _text(self, entry: ClipEntry, text: Text) -> torch.Tensor:
        part = _TEXT_PARTS[text]
        return self._read(entry, part if part in entry.parts else "text", "rows")

    def _find(self, entry: ClipEntry, part: str, name: str) -> torch.Tensor | None:
        """None where the part has no tensor of that name."""
        key, shard = entry.parts[part]
        with _naming(entry):
            return self._shards.read(shard, key, name) if self._shards.holds(shard, key, name) else None

    def _read(self, entry: ClipEntry, part: str, name: str, rows: Sequence[int] | None = None) -> torch.Tensor:
        key, shard = entry.parts[part]
        with _naming(entry):
            return self._shards.read(shard, key, name, rows)

    def _check_alike(self) -> None:
        columns = {
            "face_engine": "face engine",
            "base_sha256": "base",
            "encoders_fingerprint": "encoders",
            "mask": "head mask",
            "mask_sha256": "head mask's weights",
        }
        for column, what in columns.items():
            odd = self._list.odd_one(column)
            if odd is not None:
                found, expected = ((getattr(self.entry(index).meta, column) or "none")[:12] for index in (odd, 0))
                raise DataError(
                    f"clip {self.clip_ids[odd]} has {what} {found}, clip {self.clip_ids[0]} has {expected}: encode them alike"
                )


@contextmanager
def _naming(entry: ClipEntry) -> Iterator[None]:
    try:
        yield
    except ShardTorn as error:
        raise DataError(f"clip {entry.meta.clip_id}: {error}") from error


def _stack(what: str, clip_ids: Sequence[str], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    for clip_id, tensor in zip(clip_ids, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            raise DataError(
                f"clip {clip_id} has {what} of {tuple(tensor.shape)}, clip {clip_ids[0]} of {tuple(tensors[0].shape)}: "
                "encode them alike, and take a batch from one bucket"
            )
    return torch.stack(list(tensors))


def _stack_known(what: str, clip_ids: Sequence[str], tensors: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """None where none of the clips has it."""
    known = [tensor for tensor in tensors if tensor is not None]
    if 0 < len(known) < len(tensors):
        lacking, having = (clip_ids[[tensor is None for tensor in tensors].index(missing)] for missing in (True, False))
        raise DataError(f"clip {lacking} has no {what}, clip {having} has: encode them alike")
    return _stack(what, clip_ids, known) if known else None
