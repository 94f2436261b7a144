"""Whose content a file holds: files and what was found in them to `clips` and `clip_contents`.

Belongs here: the rules by which content becomes a clip. Not here: hashing and probing (`clip_probe`), the asset (`raw_clips`).

A clip is its content. The shard whose file shows a content first has the clip; every other file of that content is one more place
where it lies. What was measured stays as long as any file is known to hold it, whether or not the file can be reached now. A file
whose content was replaced shows another clip, and the earlier one goes when no other file holds it, in whatever shard. A file in
another state that cannot be read holds what it held, in no known state, until it is read. A released id names what its newest
file holds; where that is another clip's content already, the id is a duplicate.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from lafid_assets.ingest.clip_probe import ProbedClip
from lafid_assets.ingest.media_probe import MediaFacts
from lafid_assets.ingest.tombstones import FORGOTTEN, PSEUDONYM, Tombstones, pseudonym
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import CLIP_CONTENTS, CLIPS
from lafid_assets.workers.exit_reasons import TRIED_AGAIN

ID_DIGITS = 32
STATE = ("size_bytes", "mtime_ns", "etag")
"""Columns that tell whether a file is as it was."""
NOT_READ = TRIED_AGAIN | {Reason.FILE_MISSING}
"""How a look at a file ends that says nothing of its content: it is looked at again, and what was measured waits."""

Row = Mapping[str, Any]
Place = tuple[str, str]
"""Root and path of a file."""


@dataclass(frozen=True)
class Before:
    """What the lake holds of a shard: its clips by id, and its files' contents by place."""

    clips: Mapping[str, Row]
    contents: Mapping[Place, Row]

    @classmethod
    def of(cls, clips: pl.DataFrame, contents: pl.DataFrame) -> "Before":
        """What the two tables say."""
        return cls({row["clip_id"]: row for row in clips.to_dicts()}, {_place(row): row for row in contents.to_dicts()})

    def content_of(self, file: Row) -> str | None:
        """What the file was found to hold, in whatever state it was."""
        known = self.contents.get(_place(file))
        return None if known is None else known["content_sha256"]

    def must_be_opened(self, file: Row) -> bool:
        """Whether what is known of the file does not hold of the state in which it is, or its table's row came later."""
        known = self.contents.get(_place(file))
        if known is None or known["content_sha256"] is None:
            return True
        row_came = file["in_table"] and self.clips.get(known["clip_id"], {}).get("reason") == Reason.NO_ROW
        return row_came or any(known[name] != file[name] for name in STATE)


@dataclass(frozen=True)
class Elsewhere:
    """What other shards hold.

    Attributes:
        owners: content, or the pseudonym of a forgotten clip, to the clip and the shard that have it.
        bound: clips of this shard that files of other shards hold.
    """

    owners: Mapping[str, tuple[str, str]]
    bound: frozenset[str]


def bind(
    shard: str,
    files: Sequence[Row],
    probed: Mapping[Place, ProbedClip],
    before: Before,
    elsewhere: Elsewhere,
    tombstones: Tombstones,
) -> dict[str, pl.DataFrame]:
    """Every file's content and clip, and every clip of the shard.

    Args:
        files: the shard's rows of `clip_files`.
        probed: what was found in the files that were opened, or looked for; the others hold what they held.

    Returns:
        frames of `clips` and `clip_contents`.
    """
    content = {_place(file): _content(file, probed.get(_place(file)), before) for file in files}
    forgotten = {sha for sha in content.values() if sha is not None and tombstones.know_content(sha)}
    released = _released_contents(files, content)
    owner = _owners(files, content, released, before, elsewhere, forgotten)
    twins = {(file["path"], file["size_bytes"]): sha for file in files if (sha := content[_place(file)]) is not None}
    clips: dict[str, Row] = {name: before.clips[name] for name in elsewhere.bound if name in before.clips}
    rows = []
    measured = _measured(probed, before)
    for file in files:
        place, sha = _place(file), content[_place(file)]
        if file["released_id"] is not None:
            clip, home = file["released_id"], shard
            sha = released.get(clip, sha)
        else:
            sha = sha or twins.get((file["path"], file["size_bytes"]))
            clip, home = owner[sha] if sha else (_named_by_place(file), shard)
        shown = content[place] if content[place] not in forgotten else None
        state = dict.fromkeys(STATE) if waits_to_be_read(file, probed.get(place), before) else {}
        rows.append({**file, **state, "content_sha256": shown, "clip_id": clip, "clip_shard": home})
        if home == shard and (clip not in clips or (file["in_table"] and clips[clip]["reason"] == Reason.NO_ROW)):
            its_owner = owner.get(sha or "", (clip, shard))
            clips[clip] = _clip((clip, shard), its_owner, sha, probed.get(place), measured, forgotten)
    return {
        CLIPS.name: CLIPS.frame(clips.values()),
        CLIP_CONTENTS.name: CLIP_CONTENTS.frame({name: row[name] for name in CLIP_CONTENTS.dtypes} for row in rows),
    }


def contents_of(files: Sequence[Row], probed: Mapping[Place, ProbedClip], before: Before) -> list[str]:
    """All contents that files of the shard are known to hold: what other shards are asked for."""
    found = {_content(file, probed.get(_place(file)), before) for file in files}
    return sorted(sha for sha in found if sha is not None)


def waits_to_be_read(file: Row, clip: ProbedClip | None, before: Before) -> bool:
    """Whether a look at the file told nothing of its content, so that it holds what it held before."""
    was_read = clip is None or clip.content_sha256 is not None or clip.reason not in NOT_READ
    return not was_read and before.content_of(file) is not None


def _content(file: Row, clip: ProbedClip | None, before: Before) -> str | None:
    return before.content_of(file) if clip is None or waits_to_be_read(file, clip, before) else clip.content_sha256


def _released_contents(files: Iterable[Row], content: Mapping[Place, str | None]) -> dict[str, str]:
    """Released id to what its newest file holds."""
    newest = sorted(files, key=lambda file: (file["seen_at"], _place(file)))
    return {file["released_id"]: sha for file in newest if file["released_id"] is not None and (sha := content[_place(file)])}


def _owners(
    files: Iterable[Row],
    content: Mapping[Place, str | None],
    released: Mapping[str, str],
    before: Before,
    elsewhere: Elsewhere,
    forgotten: set[str],
) -> dict[str, tuple[str, str]]:
    """Content to the clip that is it, and that clip's shard: who had it keeps it, else a released id names it, else itself."""
    [shard] = {file["shard"] for file in files}
    had = {
        row["content_sha256"]: row["clip_id"]
        for row in before.clips.values()
        if row["content_sha256"] is not None
        and row["reason"] != Reason.DUPLICATE
        and released.get(row["clip_id"], row["content_sha256"]) == row["content_sha256"]
    }
    named = {sha: clip for clip, sha in sorted(released.items(), reverse=True)}
    owner = {}
    for sha in {sha for sha in content.values() if sha is not None}:
        if sha in forgotten:
            name = pseudonym(sha[:ID_DIGITS])
            owner[sha] = elsewhere.owners.get(name, (name, shard))
        else:
            owner[sha] = elsewhere.owners.get(sha, (had.get(sha) or named.get(sha) or sha[:ID_DIGITS], shard))
    return owner


def _measured(probed: Mapping[Place, ProbedClip], before: Before) -> dict[str, Row]:
    """Content to the columns of `clips` that say what it is; what was looked at now goes before what is known."""
    known = {
        row["content_sha256"]: row for row in before.clips.values() if row["content_sha256"] and row["reason"] != Reason.DUPLICATE
    }
    found = {clip.content_sha256: _as_row(clip) for clip in probed.values() if clip.content_sha256}
    known |= {sha: row for sha, row in found.items() if sha not in known or row["reason"] != Reason.NO_ROW}
    return known


def _clip(
    own: tuple[str, str],
    owner: tuple[str, str],
    sha: str | None,
    probe: ProbedClip | None,
    measured: Mapping[str, Row],
    forgotten: set[str],
) -> Row:
    """The row of a clip.

    Args:
        own: its id and shard.
        owner: id and shard of the clip that has its content.
        probe: what came of looking at its file, where nobody has ever read it.
    """
    nothing = dict.fromkeys(CLIPS.dtypes)
    named = dict(zip(("clip_id", "shard"), own, strict=True))
    if own[0].startswith(PSEUDONYM) or sha in forgotten:
        return nothing | FORGOTTEN | named
    if sha is None:
        assert probe is not None, f"{own[0]} was neither read nor looked for"
        return nothing | _as_row(probe) | named
    if owner != own:
        told = {"status": Status.SKIPPED, "reason": Reason.DUPLICATE, "detail": f"the same content as {owner[0]} in {owner[1]}"}
        return nothing | told | named | {"content_sha256": sha}
    return dict(measured[sha]) | named


def _as_row(clip: ProbedClip) -> dict[str, Any]:
    facts = dict.fromkeys(field.name for field in fields(MediaFacts)) if clip.facts is None else vars(clip.facts)
    file = {"file_size_bytes": clip.file_size_bytes, "content_sha256": clip.content_sha256}
    return facts | file | {"status": clip.status, "reason": clip.reason, "detail": clip.detail}


def _place(row: Row) -> Place:
    return row["clip_root"], row["path"]


def _named_by_place(file: Row) -> str:
    """A file whose content nobody could read is named by where it lies."""
    return hashlib.sha256(f"{file['clip_root']}/{file['path']}".encode()).hexdigest()[:ID_DIGITS]
