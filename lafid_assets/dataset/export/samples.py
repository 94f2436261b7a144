"""What of a clip leaves the house: caption, facts, and in some formats the clip and its reference pictures.

Belongs here: a row of `lafid_dataset` -> plain values and bytes. Not here: file formats (`formats`).

Left out on purpose: the identity embedding, which is biometric, and this machine's folders.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import polars as pl

from lafid_assets.dataset.export.cut_out import cut_out
from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES
from lafid_assets.ingest.clip_prefetch import at_hand
from lafid_assets.ingest.locate import file_at
from lafid_assets.ingest.media_probe import content_sha256_in_state
from lafid_assets.outcomes import ClipError
from model.encoding.footage import Piece, footage_in
from resources.store.file_store import FileStore

FLAT = (
    "clip_id",
    "path",
    "caption",
    "original_caption",
    "speaking_status",
    "identity_id",
    "split",
    "recording_id",
    "start_s",
    "duration_s",
    "pose_variation_deg",
    "source",
    "licence",
    "gate",
    "engine",
    "engine_version",
    "engine_licence",
    "content_sha256",
    "dataset_version",
)
"""The released-list form: what fits into a CSV, `clip_id,path,caption` first."""
NESTED = ("model_licences", "references", "cross_references")
PICTURE_PATHS = ("face_path", "head_path")
_SAFE = re.compile(r"[0-9A-Za-z_-]{1,100}")


class ClipGone(FileNotFoundError):
    """A clip is not what it was when it was curated; the message names it and the remedy."""


def to_release(rows: pl.DataFrame, leaving_clips: pl.Series) -> pl.DataFrame:
    """Rows of `lafid_dataset` in the form that leaves: columns `FLAT` and `NESTED`.

    The refined caption is `caption`. References lose the addresses of their pictures, cross-references those of clips that stay.

    Args:
        leaving_clips: the ids of all clips that leave.
    """
    fields = [field.name for field in rows.schema["references"].inner.fields if field.name not in PICTURE_PATHS]  # type: ignore[attr-defined,union-attr]
    leaving = rows.with_columns(
        original_caption="caption",
        caption="refined_caption",
        references=pl.col("references").list.eval(pl.struct(pl.element().struct.field(name) for name in fields)),
        cross_references=pl.col("cross_references").list.filter(
            pl.element().struct.field("clip_id").is_in(leaving_clips.implode())
        ),
    )
    return leaving.select(*FLAT, *NESTED)


def file_name(clip_id: str) -> str:
    """The clip's name inside archives: its id, or a hash of it where the id is no safe file name."""
    return clip_id if _SAFE.fullmatch(clip_id) else hashlib.sha256(clip_id.encode()).hexdigest()[:32]


def read_clip(row: Mapping[str, Any]) -> tuple[str, bytes]:
    """(suffix, bytes) of the clip's file; a shot of a recording is cut out of it.

    Args:
        row: of `lafid_dataset`.

    Raises:
        ClipGone: it is missing, or not the file that was curated.
    """
    try:
        file = file_at(row)
        if file is not None:
            with at_hand(file, keep=row["first_pts"] is not None) as path:  # a recording has more shots
                return _read(path, row)
    except ClipError as error:
        raise ClipGone(f"clip {row['clip_id']}: {error.detail}; materialize raw_clips again") from error
    raise _gone(row, "is missing")


def _gone(row: Mapping[str, Any], what: str) -> ClipGone:
    return ClipGone(f"the file {row['path']} of clip {row['clip_id']} {what}: put it back, or curate the folder again")


def _read(path: Path, row: Mapping[str, Any]) -> tuple[str, bytes]:
    if content_sha256_in_state(path) != row["content_sha256"]:
        raise _gone(row, "has changed since it was curated")
    # Released clips have no suffix; after a dot in a name comes anything, of which archives would make a name of their own.
    suffix = path.suffix.lower() if path.suffix.lower() in VIDEO_SUFFIXES else ".mp4"
    footage = footage_in(path, row)
    if not isinstance(footage, Piece):
        return suffix, path.read_bytes()
    try:
        return ".mp4", cut_out(footage)
    except av.FFmpegError as error:
        raise ClipGone(f"clip {row['clip_id']} cannot be cut out of {row['path']}: {error.strerror}") from error


def read_pictures(row: Mapping[str, Any], store: FileStore) -> Iterator[tuple[int, str, bytes]]:
    """(reference index, `face` or `head`, PNG) of every reference picture that there is. `row`: of `lafid_dataset`."""
    for index, reference in enumerate(row["references"]):
        for name in PICTURE_PATHS:
            if reference[name] is not None:
                yield index, name.removesuffix("_path"), store.read_bytes(reference[name])
