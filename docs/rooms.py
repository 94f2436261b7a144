"""The rooms of the house and who imports whom, read from the code: `python docs/rooms.py` draws docs/pictures/rooms.svg anew.

Belongs here: imports -> rooms, their order, the picture and the table. Not here: which imports are forbidden
(`tests/test_architecture.py`), the page around them (`architecture.md`).
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
PACKAGES = ("sensors", "lafid_assets", "resources", "model")
"""Imports point from left to right."""
CELL_PX, NAME_PX, HEAD_PX = 16, 180, 160
COLOURS = {"sensors": "#8a5a00", "lafid_assets": "#0b6e4f", "resources": "#1f4e9c", "model": "#7a1f6b"}


class Room(NamedTuple):
    """A folder of a package, or the modules that lie in the package itself."""

    package: str
    name: str

    def __str__(self) -> str:
        return f"{self.package}/{self.name}" if self.name else f"{self.package}/"


def rooms() -> dict[Room, list[Path]]:
    """Each room's modules. Packages and rooms are ordered by their imports: who imports most comes first."""
    found: dict[Room, list[Path]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found.setdefault(_room(path.relative_to(ROOT).parts), []).append(path)
    pairs = {pair for room, paths in found.items() for pair in _imports_of(room, paths)}
    surplus = Counter(room for room, _ in pairs)
    surplus.subtract(into for _, into in pairs)
    return dict(sorted(found.items(), key=lambda item: (PACKAGES.index(item[0].package), -surplus[item[0]], item[0].name)))


def imports() -> Counter[tuple[Room, Room]]:
    """How many imports lead from one room into another, those inside functions included."""
    return Counter(pair for room, paths in rooms().items() for pair in _imports_of(room, paths))


def table() -> str:
    """Every room in a line: its modules and lines, and the first sentence of its package's docstring."""
    lines = ["| room | modules | lines | what it holds |", "|---|---:|---:|---|"]
    for room, paths in rooms().items():
        size = sum(len(path.read_text().splitlines()) for path in paths)
        lines.append(f"| `{room}` | {len(paths)} | {size:,} | {_first_sentence(room)} |")
    return "\n".join(lines)


def picture() -> str:
    """The matrix of imports as SVG: a row imports the columns that are filled; the darker, the more often."""
    found, counted = list(rooms()), imports()
    side = CELL_PX * len(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAME_PX + side + HEAD_PX // 2}" height="{HEAD_PX + side + 8}" '
        'font-family="sans-serif" font-size="11">',
        "<title>A room (row) imports another (column) where the cell is filled</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, room in enumerate(found):
        middle, colour = CELL_PX * number + CELL_PX / 2, COLOURS[room.package]
        label = escape(str(room))
        parts.append(f'<text x="{NAME_PX - 6}" y="{HEAD_PX + middle + 4:g}" text-anchor="end" fill="{colour}">{label}</text>')
        at = f"{NAME_PX + middle + 4:g} {HEAD_PX - 6}"
        parts.append(f'<text transform="translate({at}) rotate(-60)" fill="{colour}">{label}</text>')
        parts.append(_cell(number, number, "#d9d9d9", 1.0))
    for (room, into), times in sorted(counted.items()):
        parts.append(_cell(found.index(room), found.index(into), COLOURS[room.package], min(1.0, 0.25 + times / 20)))
    for number, (before, room) in enumerate(pairwise(found), start=1):
        if before.package != room.package:
            x, y = NAME_PX + CELL_PX * number, HEAD_PX + CELL_PX * number
            parts.append(f'<path d="M{NAME_PX} {y}H{NAME_PX + side}M{x} {HEAD_PX}V{HEAD_PX + side}" stroke="black"/>')
    parts.append(f'<rect x="{NAME_PX}" y="{HEAD_PX}" width="{side}" height="{side}" fill="none" stroke="black"/>')
    return "\n".join([*parts, "</svg>", ""])


def _cell(row: int, column: int, colour: str, opacity: float) -> str:
    x, y = NAME_PX + CELL_PX * column + 1, HEAD_PX + CELL_PX * row + 1
    return f'<rect x="{x}" y="{y}" width="{CELL_PX - 2}" height="{CELL_PX - 2}" fill="{colour}" fill-opacity="{opacity:.2f}"/>'


def _room(parts: tuple[str, ...] | list[str]) -> Room:
    is_folder = len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir()
    return Room(parts[0], parts[1] if is_folder else "")


def _imports_of(room: Room, paths: list[Path]) -> Iterator[tuple[Room, Room]]:
    for path in paths:
        for name in _imported(path):
            parts = name.split(".")
            if parts[0] in PACKAGES and (into := _room(parts)) != room:
                yield room, into


@cache
def _imported(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def _first_sentence(room: Room) -> str:
    docstring = ast.get_docstring(ast.parse((ROOT / room.package / room.name / "__init__.py").read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    PICTURE.write_text(picture())
