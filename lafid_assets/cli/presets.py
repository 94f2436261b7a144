"""`lafid presets`: what each preset costs, built on torch's meta device: no weights, no GPU.

Belongs here: the table as text or JSON. Not here: the numbers (`model.training.preset_table`).
"""

import json
from contextlib import nullcontext
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from lafid_assets.cli.display import CONSOLE, working

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


_WIDTH = 132


def run_presets(name: str | None, *, as_json: bool) -> None:
    """Build one preset, or all, and print what they cost.

    Raises:
        ValueError: there is no such preset; the message lists those that exist.
    """
    with nullcontext() if as_json else working("building on the meta device"):
        from model.presets import preset
        from model.training.memory_table import memory_figures
        from model.training.preset_table import preset_table

        found = preset_table(None if name is None else [preset(name).name])
        rows = [asdict(row) | memory_figures(preset(row.preset), row) for row in found]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False)
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="left" if heading.endswith("preset") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(field, row.get(field)) for field in _COLUMNS))
    # Whole numbers, even on a narrow terminal or in a pipe: lines wrap rather than lose digits.
    Console(width=max(CONSOLE.width, _WIDTH), highlight=False).print(table)
    CONSOLE.print(
        "Parameters in millions; operations of one forward of one clip; GiB of a card at least: by itself, with offload_base, "
        "and with shard_base on 8; all on the meta device, no weights read.",
        style="dim",
    )


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
