"""Answers of language models that were paid for, kept so that a rerun never pays twice.

Belongs here: one small JSON file an answer, whole or not at all. Not here: asking (`chat_endpoint`).

Captions and transcripts describe persons, so answers lie in a folder a clip and `forget` removes them with the clip.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from model.files import write_whole


@dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        finish_reason: "stop", "length" (cut off), ... in the endpoint's words; None where it does not tell.
        tokens_in, tokens_out: what it counted; 0 where it does not tell.
    """

    text: str
    finish_reason: str | None
    tokens_in: int
    tokens_out: int


class AnswerCache:
    """Answers by clip and question, below one folder. Safe between threads and processes: a file appears whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_home(cls, home: Path) -> "AnswerCache":
        """The cache of an installation."""
        return cls(home / "llm_answers")

    def get(self, clip_id: str, key: str) -> Answer | None:
        """The answer kept for that question about that clip; None where there is none.

        Args:
            key: hash over question, model and settings.
        """
        try:
            return Answer(**json.loads(self._file(clip_id, key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def put(self, clip_id: str, key: str, answer: Answer) -> None:
        """Keep an answer."""
        write_whole(self._file(clip_id, key), json.dumps(asdict(answer)))

    def forget(self, clip_ids: Iterable[str]) -> int:
        """Remove all answers about these clips; how many clips had any."""
        folders = [folder for folder in map(self._clip_folder, clip_ids) if folder.is_dir()]
        for folder in folders:
            shutil.rmtree(folder)
        return len(folders)

    def _clip_folder(self, clip_id: str) -> Path:
        digest = hashlib.sha256(clip_id.encode()).hexdigest()[:32]  # an id from a table is no safe file name
        return self._folder / digest[:2] / digest

    def _file(self, clip_id: str, key: str) -> Path:
        return self._clip_folder(clip_id) / f"{key}.json"
