"""`lafid presets`: what each preset costs, built on torch's meta device: no weights, no GPU; and how long it takes.

Belongs here: the tables as text or JSON. Not here: the numbers (`model.training.preset_table`, `model.training.time_estimate`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lafid_assets.cli.display import CONSOLE, PlainConsole, working

if TYPE_CHECKING:
    from model.training.time_estimate import RunDuration

_COLUMNS = {
    "preset": "\npreset",
    "base_parameters": "base\nM",
    "adapter_parameters": "adapter\nM",
    "lora_parameters": "LoRA\nM",
    "trained_parameters": "trained\nM",
    "video_tokens": "video\ntokens",
    "reference_tokens": "ref.\ntokens",
    "forward_tflop": "base\nTFLOP",
    "branch_share": "face\n+ %",
    "references_tflop": "ref. +\nTFLOP",
    "plain_gib": "plain\nGiB",
    "offload_gib": "offload\nGiB",
    "shared_gib": "shared\nGiB",
}
_TIMES = ("preset", "cards", "updates", "s an update", "days", "GPU hours", "cost")
_WIDTH = 132


@dataclass(frozen=True)
class Wish:
    """What a run is asked about; None: the preset's own, or none."""

    cards: Sequence[str]
    steps: int | None
    days: float | None
    hfu: float | None
    hour_price: float | None


def read_presets(name: str | None, wish: Wish) -> list[dict[str, Any]]:
    """Build one preset, or all: an object each, with what it is and its `durations` on the cards."""
    with working("building on the meta device"):
        from model.presets import PRESETS, preset
        from model.training.memory_table import memory_figures
        from model.training.preset_table import preset_table
        from model.training.schedule import in_steps
        from model.training.time_estimate import ASSUMED_HFU, USUAL_CARDS, cards_at_hand, cards_named, run_duration

        cards = [cards_named(words) for words in wish.cards] or cards_at_hand() or [cards_named(words) for words in USUAL_CARDS]
        hfu = wish.hfu or ASSUMED_HFU
        found = preset_table(None if name is None else [preset(name).name])
        rows = [asdict(row) | memory_figures(preset(row.preset), row) for row in found]
        for row, told in zip(found, rows, strict=True):
            train = PRESETS[row.preset].train
            chosen = PRESETS[row.preset].model_copy(update={"train": in_steps(train, wish.steps or train.steps)})
            told["durations"] = [asdict(run_duration(chosen, row, some, hfu, wish.hour_price)) for some in cards]
    return rows


def show_presets(rows: Sequence[Mapping[str, Any]], wish: Wish) -> None:
    """The same as two tables, and which of them take longer than was wished."""
    from model.training.time_estimate import RunDuration

    # Whole numbers, even on a narrow terminal or in a pipe: lines wrap rather than lose digits.
    console = PlainConsole(width=max(CONSOLE.width, _WIDTH))
    console.print(_table(_COLUMNS.values(), ([_cell(field, row.get(field)) for field in _COLUMNS] for row in rows)))
    console.print(
        "Parameters in millions; operations of one forward of one clip; GiB of a card at least: by itself, with offload_base, "
        "and with shard_base on 8; all on the meta device, no weights read.\n",
        style="dim",
    )
    lines = [(row["preset"], RunDuration(**duration)) for row in rows for duration in row["durations"]]
    console.print(_table(_TIMES, (_time_cells(*line) for line in lines)))
    price = "no price: --gpu-hour, or LAFID_GPU_HOUR" if wish.hour_price is None else f"{wish.hour_price:g} a GPU hour"
    console.print(
        f"Assumed HFU {lines[0][1].hfu:.0%}, not measured (--hfu); {price}; every clip of the main size, no judging or drawing. "
        "Whether it fits a card is what the GiB above say.",
        style="dim",
    )
    for preset_name, duration in lines:
        if wish.days is not None and duration.days > wish.days:
            console.print(_outlasts(preset_name, duration, wish.days), style="yellow")


def _time_cells(name: str, duration: "RunDuration") -> list[str]:
    cells = [name, duration.cards, str(duration.steps), f"{duration.seconds_per_step:.3g}", f"{duration.days:.1f}"]
    return [*cells, f"{duration.gpu_hours:.0f}", "" if duration.cost is None else f"{duration.cost:.0f}"]


def _outlasts(name: str, duration: "RunDuration", days: float) -> str:
    fitting = duration.steps_in(days)
    remedy = f"train {fitting} (steps of fusion_dit), and its schedule ends with them" if fitting else "not one fits in"
    return (
        f"{name}: {duration.steps} updates take {duration.days:.1f} days on {duration.cards}. "
        f"After {days:g} days the learning rate has not come down: {remedy}."
    )


def _table(columns: Iterable[str], lines: Iterable[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="left" if heading.strip() in ("preset", "cards") else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _cell(field: str, value: str | int | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if field.endswith("_parameters"):
        return f"{value / 1e6:.1f}"
    if field == "branch_share":
        return f"{100 * value:.2f}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.{1 if value >= 100 else 2}f}"
