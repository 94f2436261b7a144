"""`lafid presets`: the table and its errors."""

import json
from collections.abc import Callable
from typing import Any

from model.presets import preset
from model.training.memory_table import memory_figures
from model.training.preset_table import preset_row

Lafid = Callable[..., Any]


def test_one_preset_as_an_object(lafid: Lafid) -> None:
    ended = lafid("presets", "tiny", "--json")
    assert ended.code == 0, ended.err
    (row,) = json.loads(ended.out)
    found = preset_row(preset("tiny"))
    assert row == vars(found) | memory_figures(preset("tiny"), found)


def test_the_table_says_the_same(lafid: Lafid) -> None:
    row = preset_row(preset("tiny"))
    (line,) = [line for line in lafid("presets", "tiny").out.splitlines() if line.startswith("tiny")]
    cells = line.split()
    assert cells[1] == f"{row.base_parameters / 1e6:.1f}"
    assert cells[5] == str(row.video_tokens)
    assert cells[8] == f"{100 * row.branch_share:.2f}"
    assert cells[11:] == ["-", "-"], "nothing of it is frozen, so nothing can wait or be shared"


def test_unknown_preset(lafid: Lafid) -> None:
    assert "no preset is named 'huge': choose one of tiny" in lafid("presets", "huge").error
