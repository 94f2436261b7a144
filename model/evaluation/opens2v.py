"""OpenS2V-Eval's files: its prompts read, its videos named, its score files written and read.

Belongs here: the files' layout, and which prompts one person's model can be asked. Not here: drawing, and the scores themselves
(`measures`).

Layout as of PKU-YuanGroup/OpenS2V-Nexus, commit b452831 (`eval/`): `Open-Domain_Eval.json` holds 180 prompts, key -> `img_paths`,
`prompt`, `class_label`, `synthesis_flag`; `Human-Domain_Eval.json` 60 of them. A video is `<key>.mp4`. Every score has a file of
its own, key -> fields. FaceSim is asked of `singlehuman`, `singleface`, `humanobj` and `faceobj` alone, against the first picture
that lies in a folder `man`, `woman`, `crop_man` or `crop_woman`.

What is not scored is not in the files, which their own programs average: no 0 stands for it. Why it is not, `absent.json` says.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from pydantic import ValidationError, field_validator

from model.files import write_whole
from model.strict import StrictModel

PROMPTS_FILES: Final = ("Open-Domain_Eval.json", "Human-Domain_Eval.json", "SingleObject_Eval.json")
ONE_PERSON: Final = ("singlehuman", "singleface", "humanobj", "faceobj")
"""How keys begin whose video shows one person; the others are multihuman, multiface, singleobj and multiobject."""
FOLDERS_OF_PERSONS: Final = ("man", "woman", "crop_man", "crop_woman")
_NATURAL: Final = tuple(f"naturalscore_{number}.json" for number in (1, 2, 3))
SCORE_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "facesim.json": ("cur_score", "arc_score"),
    "aesthetic_score.json": ("aes_score",),
    "gmescore.json": ("gme_score",),
    "motionscore.json": ("motion_fb", "motion_lk"),
    "nexusscore.json": ("retrieval_score",),
    **dict.fromkeys(_NATURAL, ("score",)),
}
"""File to the fields of each of its entries. NaturalScore's entries are texts themselves; here they have one field."""
FIELD_OF_A_TEXT: Final = "score"
NOT_OURS: Final[Mapping[str, str]] = {
    "aesthetic_score.json": "LAION's aesthetic head is not measured by LaFID",
    "gmescore.json": "GME is not measured by LaFID",
    "motionscore.json": "its figures are not reproducible (random colours) or cancel (signed flow); LaFID's have other names",
    "nexusscore.json": "YOLO-World and GME are not measured by LaFID",
    **dict.fromkeys(_NATURAL, "no vision endpoint is asked"),
}
"""Score files that LaFID does not fill, and why."""
ABSENT_FILE: Final = "absent.json"
_KEY = re.compile(r"([a-z]+)_(\d+)")


class OpenS2VError(ValueError):
    """A file is none of OpenS2V-Eval's; the message names it, the entry and the remedy."""


class Prompt(StrictModel):
    """One video that is asked for."""

    img_paths: tuple[str, ...]
    """Pictures of the subjects, relative to the folder of the benchmark."""
    prompt: str
    class_label: tuple[str, ...]
    """What each of the pictures shows."""
    synthesis_flag: str
    """Whether the pictures were generated, as the file spells it."""

    @field_validator("img_paths")
    @classmethod
    def _lie_within(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path!r} leads out of the benchmark's folder")
        return paths


class DrawRequest(NamedTuple):
    """What a model of one person is asked for.

    Attributes:
        photo: of the person; the prompt's other pictures show things and places, which such a model takes none of.
    """

    key: str
    prompt: str
    photo: Path

    @property
    def video_name(self) -> str:
        """The name that the benchmark's programs look for."""
        return f"{self.key}.mp4"


Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Score file -> key -> field -> value."""


def read_prompts(path: Path) -> dict[str, Prompt]:
    """Key to prompt, in the file's order.

    Raises:
        OpenS2VError: there is no such file, or it is none of prompts.
    """
    told = _object_in(path, f"a prompts file ({', '.join(PROMPTS_FILES)})")
    prompts = {}
    for key, entry in told.items():
        if _KEY.fullmatch(key) is None:
            raise OpenS2VError(f"{path}: {key!r} is no key such as singlehuman_1, by which its video could be named")
        try:
            prompts[key] = Prompt.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            raise OpenS2VError(f"{path}: {key} is no prompt ({'.'.join(map(str, first['loc']))}: {first['msg']})") from error
    return prompts


def requests_of(prompts: Mapping[str, Prompt], folder: Path) -> tuple[list[DrawRequest], dict[str, str]]:
    """Which of the prompts a model of one person is asked, with the picture of `folder/Images` that FaceSim compares with;
    and why it is not asked the others, by their keys."""
    asked, left_out = list[DrawRequest](), dict[str, str]()
    for key, prompt in prompts.items():
        begins = key.rpartition("_")[0]
        path = next((path for path in prompt.img_paths if set(PurePosixPath(path).parts[:-1]) & set(FOLDERS_OF_PERSONS)), None)
        if begins not in ONE_PERSON:
            left_out[key] = f"{begins} does not ask for one person"
        elif path is None:
            left_out[key] = "none of its pictures lies in a folder of persons"
        elif not (folder / path).is_file():
            left_out[key] = f"{folder / path} is missing: download the benchmark's Images"
        else:
            asked.append(DrawRequest(key, prompt.prompt, folder / path))
    return asked, left_out


def write_scores(folder: Path, scores: Scores, absent: Mapping[str, Mapping[str, str]]) -> None:
    """The score files that hold anything, each whole or not at all; and `absent.json`, file -> key or field -> why.

    Raises:
        OpenS2VError: a file, key or field is none of the benchmark's, or a value no finite number.
    """
    for name, entries in scores.items():
        for key, fields in entries.items():
            if strange := set(fields) - set(SCORE_FIELDS.get(name, ())):
                raise OpenS2VError(f"{name} of OpenS2V-Eval has no field {min(strange)}")
            if _KEY.fullmatch(key) is None or not all(math.isfinite(value) for value in fields.values()):
                raise OpenS2VError(f"{name}: {key} with {dict(fields)} is no score: leave out what could not be measured")
    for name, entries in scores.items():
        if filled := {key: dict(fields) for key, fields in entries.items() if fields}:
            _write(folder / name, filled)
        else:
            (folder / name).unlink(missing_ok=True)  # of other videos that lay there before
    _write(folder / ABSENT_FILE, {name: {"all": why} for name, why in NOT_OURS.items() if name not in scores} | dict(absent))


def read_scores(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Every score file that is there, whoever wrote it; an entry that is no number ("error") is left out.

    Raises:
        OpenS2VError: a file is no object of entries, or has other fields.
    """
    found = {}
    for name, fields in SCORE_FIELDS.items():
        if not (folder / name).is_file():
            continue
        entries: dict[str, dict[str, float]] = {}
        for key, entry in _object_in(folder / name, "a score file").items():
            told = entry if isinstance(entry, dict) else {FIELD_OF_A_TEXT: entry}
            if strange := set(told) - set(fields):
                raise OpenS2VError(f"{folder / name}: {key} has a field {min(strange)}, which {name} has not")
            known = {field: value for field, text in told.items() if (value := _number(text)) is not None}
            if known:
                entries[key] = known
        found[name] = entries
    return found


def means_of(scores: Scores) -> dict[str, tuple[float, int]]:
    """`file: field` to the mean over the keys that have it, and how many these are, as its programs average."""
    means = {}
    for name, entries in scores.items():
        for field in SCORE_FIELDS[name]:
            values = [fields[field] for fields in entries.values() if field in fields]
            if values:
                means[f"{name}: {field}"] = (math.fsum(values) / len(values), len(values))
    return means


def _object_in(path: Path, what: str) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise OpenS2VError(f"there is no {path}: name {what} of OpenS2V-Eval") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OpenS2VError(f"{path} is no JSON ({error}): name {what} of OpenS2V-Eval") from error
    if not isinstance(told, dict):
        raise OpenS2VError(f"{path} holds no object of entries: name {what} of OpenS2V-Eval")
    return told


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _write(path: Path, told: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(told, indent=4) + "\n")
