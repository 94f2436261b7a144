"""Captions written from frames by a vision-language model, for clips that have none.

Belongs here: choosing and encoding the frames, the question, and judging the answer. Not here: the endpoint
(`chat_endpoint`), what becomes of the caption (`tagging`).

FaithfulFaces captions its clips in this way (Qwen2.5-VL; appearance, action, background). Frames show persons, and they leave
this machine: nothing here runs unless such a model is configured.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
from PIL import Image as PilImage
from pydantic import Field

from lafid_assets.captions.chat_endpoint import ChatEndpoint, EndpointSettings, Message, NoAnswer
from lafid_assets.captions.llm_rewriter import ACCEPTED, UNANSWERED
from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.speech.frames import sample_frames
from lafid_assets.speech.voice import Span
from lafid_assets.workers.pool import Done, NotFetched
from model.encoding.footage import Footage, passed_s

_JPEG_QUALITY = 85
_DEADLINE_S = 120.0
_FEWEST_CHARS, _MOST_CHARS = 40, 1600  # OpenHumanVid's own captions have 137 to 1530
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am)? (?:sorry|unable|cannot|can't|can not|apologi[sz]e)|as an ai|i (?:cannot|can't|won't))\b", re.IGNORECASE
)
_TASK = """These are frames of one short video clip, in order of time. Describe the clip in one paragraph of 40 to 150 words of \
plain English: the person's appearance and clothing, the action, the background. Say only what can be seen. Do not say who the \
person is, and nothing about sound or about whether anybody speaks."""


class FrameCaptionSettings(EndpointSettings):
    """Which vision-language model writes captions, and what it is shown."""

    frames: int = Field(4, ge=1, le=16, description="Frames shown, spread evenly over the clip.")
    side_px: int = Field(512, ge=64, le=2048, description="Longer side to which they are scaled down.")


@dataclass(frozen=True)
class FrameTask:
    """One clip to look at. Plain values: it crosses a process border."""

    clip_id: str
    footage: Footage
    duration_s: float
    frames: int
    side_px: int


@dataclass(frozen=True)
class FrameCaption:
    """A caption, or None; and why."""

    text: str | None
    reason: str


def encode_frames(task: FrameTask) -> list[bytes]:
    """JPEGs of frames from the middles of equal parts of the clip, fewer where it is shorter than it says. Runs in a child.

    Raises:
        ClipError: there is no such file, or it cannot be decoded.
    """
    part_s = task.duration_s / task.frames
    parts = [Span((i + 0.5) * part_s, (i + 1) * part_s) for i in range(task.frames)]
    encoded = []
    for look in sample_frames(task.footage, parts, fps=1 / part_s):
        picture = PilImage.fromarray(look.image)
        picture.thumbnail((task.side_px, task.side_px), PilImage.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        encoded.append(buffer.getvalue())
    return encoded


def describe_all(
    clips: pl.DataFrame, places: Mapping[str, Footage], settings: FrameCaptionSettings, endpoint: ChatEndpoint
) -> dict[str, FrameCaption]:
    """A caption from frames, or why there is none, for each clip; several at a time.

    Args:
        clips: `clip_id` and `duration_s`.
        places: where they are; a clip whose file is away is asked about another time.
    """
    rows = clips.sort("clip_id").to_dicts()
    tasks = [
        FrameTask(row["clip_id"], places[row["clip_id"]], row["duration_s"], settings.frames, settings.side_px)
        for row in rows
        if row["duration_s"] and row["clip_id"] in places
    ]
    pictures: dict[str, list[bytes]] = {row["clip_id"]: [] for row in rows if row["clip_id"] in places}
    endings = map_footage(encode_frames, tasks, _deadline_s, footage_of=lambda task: task.footage)
    for index, ending in endings:
        if isinstance(ending, NotFetched):
            del pictures[tasks[index].clip_id]
        else:
            pictures[tasks[index].clip_id] = ending.value if isinstance(ending, Done) else []
    away = {row["clip_id"]: FrameCaption(None, f"{UNANSWERED}its file is away") for row in rows if row["clip_id"] not in pictures}
    with ThreadPoolExecutor(endpoint.settings.concurrency, thread_name_prefix="frames") as pool:
        captions = pool.map(lambda item: describe(item[0], item[1], endpoint), pictures.items())
        return away | dict(zip(pictures, captions, strict=True))


def _deadline_s(task: FrameTask) -> float:
    return _DEADLINE_S + passed_s(task.footage)


def describe(clip_id: str, jpegs: Sequence[bytes], endpoint: ChatEndpoint) -> FrameCaption:
    """A caption from frames, or None with the reason."""
    if not jpegs:
        return FrameCaption(None, "no frame could be decoded")
    try:
        answer = endpoint.ask(clip_id, question(jpegs))
    except NoAnswer as error:
        return FrameCaption(None, f"{UNANSWERED}{error}")
    text = " ".join(answer.text.split())
    if answer.finish_reason == "length":
        return FrameCaption(None, "answer refused: cut off at max_tokens")
    if not _FEWEST_CHARS <= len(text) <= _MOST_CHARS:
        return FrameCaption(None, f"answer refused: {len(text)} characters")
    if _REFUSAL.search(text[:200]):
        return FrameCaption(None, "answer refused: the model declined")
    return FrameCaption(text, ACCEPTED)


def question(jpegs: Sequence[bytes]) -> list[Message]:
    """The messages that are sent: the task, and each frame as a data URL."""
    frames = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}} for jpeg in jpegs
    ]
    return [{"role": "user", "content": [{"type": "text", "text": _TASK}, *frames]}]
