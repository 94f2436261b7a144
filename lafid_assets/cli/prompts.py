"""Many videos by one command: prompts out of a file, and how a video that was drawn already is known again.

Belongs here: reading the file, the hash that a video's file bears. Not here: drawing (`generate`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from model.strict import StrictModel

_MARK = "lafid request "
_VERSION = 1
"""Raise it when the same request is to give other frames."""
_NAME = r"^\w[\w.\- ]{0,99}$"


class Prompt(StrictModel):
    """One line; what is left out is as the command says."""

    prompt: str = Field(min_length=1)
    negative_prompt: str | None = None
    seed: int | None = Field(None, ge=0, lt=2**63)
    name: str | None = Field(None, pattern=_NAME, description="of the mp4, without its ending; the line's number when left out")


def read_prompts(path: Path) -> dict[str, Prompt]:
    """The mp4's name to what it shows: a line a prompt; of a .jsonl file an object a line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read prompts from {path} ({error}): give a text file with a prompt a line") from error
    found: dict[str, Prompt] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        prompt = _from_json(path, number, line) if path.suffix == ".jsonl" else Prompt(prompt=line.strip())
        name = f"{prompt.name or f'{number:04d}'}.mp4"
        if name in found:
            raise ValueError(f"{path}, line {number}: another line is named {name} too")
        found[name] = prompt
    if not found:
        raise ValueError(f"{path} holds no prompt: write one a line")
    return found


def request_hash(request: Mapping[str, Any], pictures: list[Path], model: Mapping[str, Any]) -> str:
    """Over all that decides a video's frames.

    Args:
        request: its values, those of `pictures` aside.
        pictures: the first frame and the photos, by their bytes.
        model: the checkpoint's manifest, and how it computes.
    """
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures]
    told = json.dumps([_VERSION, dict(request), files, dict(model)], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def mark_of(digest: str) -> str:
    """What the mp4's comment says."""
    return f"{_MARK}{digest}"


def drawn_before(path: Path) -> str | None:
    """The hash of the request that a file was drawn for; None: it is not there, or no video of ours."""
    import av

    try:
        with av.open(str(path)) as container:
            comment = container.metadata.get("comment", "")
    except (OSError, av.FFmpegError):
        return None
    found = re.fullmatch(rf"{_MARK}([0-9a-f]{{64}})", comment)
    return found[1] if found else None


def _from_json(path: Path, number: int, line: str) -> Prompt:
    try:
        return Prompt.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ValueError(
            f'{path}, line {number}: {f"{place}: " if place else ""}{fault["msg"]}; write {{"prompt": "..."}}, beside it '
            "negative_prompt, seed, name as you wish"
        ) from None
