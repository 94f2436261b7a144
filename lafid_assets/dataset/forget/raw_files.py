"""The clips' own files: where they lie, and deleting them.

Belongs here: files and objects that came in. Not here: what was made of them, and copies (`erase`); what tables say (`tables`).
"""

from collections.abc import Iterator
from pathlib import Path

from lafid_assets.dataset.forget.subject import RawFile, Subject
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from resources.store.s3_objects import ObjectUnreadable, is_address, remove_object, size_of


def own_files(subject: Subject) -> list[str]:
    """Paths and addresses of the clips' own files, as far as they lie where the table says.

    Raises:
        BucketAway: a bucket cannot be asked.
    """
    return [place for raw in subject.raw_files if (place := _place(raw)) is not None]


def delete_own_files(subject: Subject) -> Iterator[str]:
    """Delete them; each is told. A bucket that keeps versions keeps the earlier ones.

    Raises:
        BucketAway: an object cannot be deleted.
    """
    for place in own_files(subject):
        if is_address(place):
            remove_object(place)
        else:
            Path(place).unlink()
        yield place


def _address(raw: RawFile) -> str:
    return f"{raw.clip_root}/{raw.path}"


def _place(raw: RawFile) -> str | None:
    if is_address(raw.clip_root):
        try:
            size_of(_address(raw))
        except ObjectUnreadable as error:
            return None if error.is_missing else _address(raw)
        return _address(raw)
    try:
        path = resolve(Path(raw.clip_root), raw.path)
    except ClipError:  # a path that leads out of its folder is nobody's to delete
        return None
    return None if path is None else str(path)
