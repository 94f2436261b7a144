"""Transcripts that were made elsewhere, read in by clip id.

Belongs here: the three forms of such a file, leaving out its bad rows, and refusing a file of another form in one line. Not here:
whether a segment is believed (`transcript_gates`).

    csv   a row a segment: clip_id, start_s, end_s, text; optional language, avg_logprob, no_speech_prob
    json  a list of such rows, or an object from clip id to a list of them (Whisper's own names `start` and `end` will do)
    srt   a folder with one <clip_id>.srt a clip
"""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lafid_assets.speech.transcript import TranscriptSegment
from model.files import sha256_file, sha256_folder

_SHOWN_FAULTS = 5
_OF_VALUES = frozenset({"finite_number", "greater_than_equal", "less_than_equal", "string_too_short", "value_error"})
"""Pydantic's names of faults that a single segment can have in a file of the right form."""
_SRT_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{1,3})(?:\s.*)?")
_SRT_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")


class TranscriptsUnusable(ValueError):
    """A file of transcripts cannot be used; the message names it and what is wrong."""


@dataclass(frozen=True)
class TranscriptFile:
    """Segments by clip id, in order of time, from one file or folder.

    Attributes:
        name: its name without the folders before it; recorded as "file: <name>".
        sha256: over its content.
        faults: the rows that were left out, each with its place and what is wrong with it.
    """

    name: str
    sha256: str
    segments: Mapping[str, tuple[TranscriptSegment, ...]]
    faults: tuple[str, ...] = ()

    @property
    def told_faults(self) -> str:
        """How many rows were left out, and the first of them; empty where none was."""
        return _told(self.faults) if self.faults else ""


class _NoRow(ValueError):
    """Why a place in a file holds no row at all."""


class _Row(BaseModel):
    """One segment as it stands in a file."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)  # other tools' columns do not matter

    clip_id: str = Field(min_length=1)
    start_s: float = Field(ge=0, allow_inf_nan=False, validation_alias=AliasChoices("start_s", "start"))
    end_s: float = Field(allow_inf_nan=False, validation_alias=AliasChoices("end_s", "end"))
    text: str = Field(min_length=1)
    language: str | None = Field(None, min_length=2)
    avg_logprob: float | None = Field(None, le=0, allow_inf_nan=False)
    no_speech_prob: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _runs_forwards(self) -> "_Row":
        if self.end_s <= self.start_s:
            raise ValueError(f"the segment ends at {self.end_s:g} s, before or where it starts ({self.start_s:g} s)")
        return self


def read_transcripts(path: Path) -> TranscriptFile:
    """All transcripts of a .csv or .json file, or of a folder of .srt files. A bad row is left out, and told.

    Raises:
        TranscriptsUnusable: it is none of these, or broken, or none of its rows has the form of a segment.
    """
    if path.is_dir():
        digest, rows = sha256_folder(path), _srt_rows(path)
    elif path.suffix in _READERS and path.is_file():
        digest, rows = sha256_file(path), _READERS[path.suffix](path)
    else:
        raise TranscriptsUnusable(f"transcripts {path}: there is no such .csv or .json file or folder of .srt files")
    try:
        segments, faults = _by_clip(path, rows)
    except UnicodeDecodeError as error:
        raise TranscriptsUnusable(f"transcripts {path.name}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise TranscriptsUnusable(f"transcripts {path.name}: {error}") from error
    return TranscriptFile(path.name, digest, segments, faults)


def segments_within(segments: Sequence[TranscriptSegment], begin_s: float, end_s: float) -> tuple[TranscriptSegment, ...]:
    """What is said in a part of a recording, on that part's clock: the segments of which most lies in it, cut to its ends."""
    return tuple(
        replace(one, start_s=max(one.start_s, begin_s) - begin_s, end_s=min(one.end_s, end_s) - begin_s)
        for one in segments
        if one.lies_within(begin_s, end_s)
    )


def _by_clip(path: Path, rows: Iterable[tuple[str, Any]]) -> tuple[dict[str, tuple[TranscriptSegment, ...]], tuple[str, ...]]:
    """Checked segments by clip id, and the rows that are none, in words.

    Args:
        rows: where each row stands, in words, and its values, or why it has none.
    """
    faults: list[str] = []
    well_formed = False
    found: dict[str, list[TranscriptSegment]] = {}
    for place, values in rows:
        if isinstance(values, _NoRow):
            faults.append(f"{place}: {values}")
            continue
        try:
            row = _Row.model_validate(values)
        except ValidationError as error:
            faults.append(f"{place}: {_in_words(error)}")
            well_formed = well_formed or {fault["type"] for fault in error.errors()} <= _OF_VALUES
            continue
        well_formed = True
        found.setdefault(row.clip_id, []).append(TranscriptSegment(**row.model_dump(exclude={"clip_id"})))
    if faults and not well_formed:
        raise TranscriptsUnusable(f"transcripts {path.name}: {_told(faults)}")
    return {clip: tuple(sorted(segments, key=lambda s: (s.start_s, s.end_s))) for clip, segments in found.items()}, tuple(faults)


def _told(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
    return f"{len(faults)} bad rows: {'; '.join(faults[:_SHOWN_FAULTS])}{more}"


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else first["msg"].removeprefix("Value error, ")


def _csv_rows(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        records = _csv_records(stream.readlines())
    _, header = next(records, (1, []))
    if isinstance(header, _NoRow):
        raise TranscriptsUnusable(f"transcripts {path.name}: line 1: {header}")
    missing = {"clip_id", "start_s", "end_s", "text"} - set(header)
    if missing:
        raise TranscriptsUnusable(f"transcripts {path.name}: column {', '.join(sorted(missing))} is missing")
    for line, cells in records:
        place = f"line {line}"
        if isinstance(cells, _NoRow):
            yield place, cells
        elif len(cells) > len(header):
            yield place, _NoRow(f"{len(cells)} values in {len(header)} columns: a text with a comma stands in quotation marks")
        elif cells:
            known = {name: value for name, value in zip(header, cells, strict=False) if value}
            yield place, {"text": ""} | known


def _csv_records(lines: Sequence[str]) -> Iterator[tuple[int, list[str] | _NoRow]]:
    """The number of the line at which each record begins, and its cells. Where quotation marks do not match, that line is none,
    and the next one begins anew: an open mark would take in all that follows."""
    begin = 0
    while begin < len(lines):
        skipped = begin
        reader = csv.reader((lines[at] for at in range(skipped, len(lines))), strict=True)
        try:
            for cells in reader:
                yield begin + 1, cells
                begin = skipped + reader.line_num
        except csv.Error as error:
            yield begin + 1, _NoRow(f"{error}: a quotation mark within a quoted text is written twice")
            begin += 1


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = next((name for name, times in Counter(name for name, _ in pairs).items() if times > 1), None)
        if twice is not None:  # a plain reader keeps the last of them and says nothing
            raise TranscriptsUnusable(f"transcripts {path.name}: {twice} is there twice in one object: join its segments")
        return dict(pairs)

    content = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=lambda _: math.nan, object_pairs_hook=once)
    if isinstance(content, list):
        yield from ((f"row {i}", row) for i, row in enumerate(content, 1))
    elif isinstance(content, dict):
        for clip_id, segments in content.items():
            if not isinstance(segments, list):
                raise TranscriptsUnusable(f"transcripts {path.name}: {clip_id} stands before no list of segments")
            for i, segment in enumerate(segments, 1):
                known = {"clip_id": clip_id} if isinstance(segment, dict) else None
                yield f"clip {clip_id}, segment {i}", known and segment | known
    else:
        raise TranscriptsUnusable(f"transcripts {path.name}: neither a list of rows nor an object from clip id to segments")


def _srt_rows(folder: Path) -> Iterator[tuple[str, Any]]:
    files = sorted(folder.glob("*.srt"))
    if not files:
        raise TranscriptsUnusable(f"transcripts {folder.name}: no <clip_id>.srt in the folder")
    for file in files:
        blocks = re.split(r"\n\s*\n", file.read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip())
        for number, block in enumerate(filter(None, blocks), 1):
            yield f"{file.name}, block {number}", _srt_block(file.stem, block.splitlines())


def _srt_block(clip_id: str, lines: list[str]) -> dict[str, Any] | None:
    """The values of one block (number, times, text); None where no line of times stands first or second."""
    for at, line in enumerate(lines[:2]):
        times = _SRT_TIMES.fullmatch(line.strip())
        if times:
            start_s, end_s = (
                int(h) * 3600 + int(m) * 60 + int(s) + int(fraction.ljust(3, "0")) / 1000
                for h, m, s, fraction in (times.groups()[:4], times.groups()[4:])
            )
            text = _SRT_MARKUP.sub("", " ".join(part.strip() for part in lines[at + 1 :]))
            return {"clip_id": clip_id, "start_s": start_s, "end_s": end_s, "text": text}
    return None


_READERS = {".csv": _csv_rows, ".json": _json_rows}
