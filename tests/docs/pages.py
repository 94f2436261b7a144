"""The site's pages as their authors wrote them: fenced blocks, and the commands in those of a shell."""

import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile
from typing import NamedTuple

from resources.settings import PROJECT_ROOT

PAGES = (PROJECT_ROOT / "README.md", PROJECT_ROOT / "CONTRIBUTING.md", *sorted((PROJECT_ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BIN = ".venv/bin/"
_SETS_A_VARIABLE = re.compile(r"[A-Z_]+=")


class Block(NamedTuple):
    """A fenced block; `language` is what stands behind the fence."""

    page: str
    language: str
    text: str


class Command(NamedTuple):
    """A line of a shell's block: its words, without comment, `.venv/bin/` and variables before it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks() -> list[Block]:
    """Of all pages, in order."""
    return [Block(page.name, *fence) for page in PAGES for fence in _FENCE.findall(page.read_text())]


def block(page: str, language: str, number: int = 0) -> str:
    """The text of one block of a page."""
    return [each.text for each in blocks() if (each.page, each.language) == (page, language)][number]


def commands() -> list[Command]:
    """Every different one."""
    return list({str(command): command for command in _commands()}.values())


def _commands() -> Iterator[Command]:
    for each in blocks():
        if each.language == "sh":
            for line in each.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                words = [*dropwhile(_SETS_A_VARIABLE.match, words)] or words
                if words:
                    yield Command(each.page, tuple(word.removeprefix(_BIN) for word in words))
