"""Which preset fits which card, and how: the table in docs/training.md. `python -m model.training.memory_table` writes it anew.

Belongs here: the modes of training, the cards, the table. Not here: the estimate (`memory_estimate`).
"""

from collections.abc import Sequence
from pathlib import Path

from model.presets import PRESETS, Preset
from model.training.memory_estimate import MemoryEstimate, estimate_memory
from model.training.preset_table import PresetSize, preset_size

PROCESSES = 8
"""Cards of a machine, where they share a base."""
CARDS_GB = (24, 40, 48, 80, 141)
"""RTX 4090, A100, L40S, H100, H200."""
USABLE = 0.9
"""Share of a card that the estimate may fill: it is a lower bound, CUDA takes some for itself, and a GB is less than a GiB."""
MODES: dict[str, dict[str, bool]] = {
    "plain": {},
    "offload": {"offload_base": True},
    "shared": {"shard_base": True},
    "shared, offload": {"shard_base": True, "offload_base": True},
}
"""By name, what of `train` is set, from the fastest to the slowest; shared among `PROCESSES`."""
_DOCS = Path(__file__).parents[2] / "docs" / "training.md"
_BEGIN, _END = "<!-- memory_table -->\n", "<!-- /memory_table -->\n"


def memory_by_mode(preset: Preset, size: PresetSize) -> dict[str, MemoryEstimate]:
    """What a card has to hold in each mode, those that do not fit among them; only the plain one where everything trains."""
    modes = MODES if preset.train.trainable != "all" else {"plain": {}}
    return {
        name: estimate_memory(_with(preset, **train), PROCESSES if "shard_base" in train else 1, size)
        for name, train in modes.items()
    }


def memory_figures(preset: Preset, size: PresetSize) -> dict[str, float]:
    """GiB of a card by mode, and of the host by offloading, each under a name for a column."""
    estimates = memory_by_mode(preset, size)
    named = {f"{mode.replace(', ', '_')}_gib": found.total for mode, found in estimates.items()}
    return named | ({"host_gib": estimates["offload"].host} if "offload" in estimates else {})


def fits(estimate: MemoryEstimate, card_gb: float) -> bool:
    """Whether a card of so many GB is likely to hold it."""
    return estimate.total * 2**30 <= USABLE * card_gb * 1e9


def memory_table() -> str:
    """In Markdown: GiB by mode, and for each card the first mode that fits it."""
    head = ["preset", *(f"{name}, GiB" for name in MODES), "host, GiB", *(f"{card} GB" for card in CARDS_GB)]
    rows = [memory_row(preset) for preset in PRESETS.values() if preset.train.trainable != "all"]
    return _line(head) + _line(["---"] * len(head)) + "".join(rows)


def memory_row(preset: Preset) -> str:
    """One line of the table."""
    estimates = memory_by_mode(preset, preset_size(preset))
    gib = [f"{found.total:.0f}" for found in estimates.values()]
    ways = [next((name for name, found in estimates.items() if fits(found, card)), "-") for card in CARDS_GB]
    return _line([f"`{preset.name}`", *gib, f"{estimates['offload'].host:.0f}", *ways])


def with_table(text: str) -> str:
    """The documentation with the table as it is now."""
    before, rest = text.split(_BEGIN)
    return before + _BEGIN + memory_table() + _END + rest.split(_END)[1]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _with(preset: Preset, **train: bool) -> Preset:
    off = {"offload_base": False, "shard_base": False}
    return preset.model_copy(update={"train": preset.train.model_copy(update=off | train)})


if __name__ == "__main__":
    _DOCS.write_text(with_table(_DOCS.read_text()))
