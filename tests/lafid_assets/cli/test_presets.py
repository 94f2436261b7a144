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
    durations = row.pop("durations")
    found = preset_row(preset("tiny"))
    assert row == vars(found) | memory_figures(preset("tiny"), found)
    assert [duration["cards"] for duration in durations] == ["8 H100", "8 A100", "8 RTX 4090"]


def test_the_table_says_the_same(lafid: Lafid) -> None:
    row = preset_row(preset("tiny"))
    line, *_ = [line for line in lafid("presets", "tiny").out.splitlines() if line.startswith("tiny")]
    cells = line.split()
    assert cells[1] == f"{row.base_parameters / 1e6:.1f}"
    assert cells[5] == str(row.video_tokens)
    assert cells[8] == f"{100 * row.branch_share:.2f}"
    assert cells[11:] == ["-", "-"], "nothing of it is frozen, so nothing can wait or be shared"


def test_unknown_preset(lafid: Lafid) -> None:
    assert "no preset is named 'huge': choose one of tiny" in lafid("presets", "huge").error


def test_days_and_cost_on_named_cards_and_a_warning_where_the_schedule_takes_longer(lafid: Lafid) -> None:
    options = ("--cards", "2 H100", "--cards", "4090", "--steps", "1000000", "--hfu", "0.5", "--gpu-hour", "3")
    (two, one) = json.loads(lafid("presets", "tiny", *options, "--json").out)[0]["durations"]
    assert two["days"] < one["days"]
    assert two["cost"] == 3 * two["gpu_hours"] > 0
    ended = lafid("presets", "tiny", *options, "--days", str((two["days"] + one["days"]) / 2))
    lines = [line.split() for line in ended.out.splitlines() if line.startswith("tiny")]
    assert [line[1:4] for line in lines[1:3]] == [["2", "H100", "1000000"], ["1", "RTX", "4090"]]
    assert "Assumed HFU 50%, not measured" in ended.out
    late = [line for line in ended.out.splitlines() if "the learning rate has not come down: train" in line]
    assert [line.partition(":")[0] for line in late] == ["tiny"]
    assert "days on 1 RTX 4090. After " in late[0]
    assert lafid("presets", "tiny").out.count("no price: --gpu-hour, or LAFID_GPU_HOUR") == 1
    assert "no cards are named '8 GTX': write as in '8 H100', of B200" in lafid("presets", "tiny", "--cards", "8 GTX").error
