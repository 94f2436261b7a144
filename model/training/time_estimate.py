"""How long a run takes on named graphics cards, before it begins: by the closed formula and an assumed utilisation.

Belongs here: seconds, days, GPU hours, and the updates that a number of days has room for. Not here: operations and peaks
(`throughput`), tokens (`preset_table`), what a run measures of itself (`report`).

Every clip counts as one of the main size, the longest; reading, judging and drawing on the way are not counted.
"""

import logging
import re
from collections import Counter
from dataclasses import dataclass

import torch

from model.presets import Preset
from model.training.preset_table import PresetSize
from model.training.throughput import PEAKS_FLOP_PER_S, card_of, step_flop

LOGGER = logging.getLogger(__name__)
ASSUMED_HFU = 0.45
"""Hardware utilisation: the bar of the GPU benchmark, which no measurement has shown yet."""
USUAL_CARDS = ("8 H100", "8 A100", "8 RTX 4090")
"""Those shown where no card is at hand and none is named."""
_WORDS = re.compile(r"(?:([1-9]\d*)\s*x?\s+|([1-9]\d*)x)?(?!\d+\s)(\S.*)")
_DAY_S, _HOUR_S = 86_400, 3_600


@dataclass(frozen=True)
class Cards:
    """Equal graphics cards that train together."""

    count: int
    name: str
    """As the table of peaks has it."""

    def __str__(self) -> str:
        return f"{self.count} {self.name}"


@dataclass(frozen=True)
class RunDuration:
    """How long one run takes on some cards."""

    cards: str
    hfu: float
    """Assumed."""
    steps: int
    seconds_per_step: float
    days: float
    gpu_hours: float
    cost: float | None
    """In the currency of the price of a GPU hour; None without one."""

    def steps_in(self, days: float) -> int:
        """The updates that so many days have room for."""
        return int(days * _DAY_S / self.seconds_per_step)


def cards_named(words: str) -> Cards:
    """From words as "8 H100", "8x RTX 4090" or "A100".

    Raises:
        ValueError: there is no such card in the table of peaks; the message lists those that are.
    """
    found = _WORDS.fullmatch(words.strip())
    name = card_of(found[3]) if found else None
    if found is None or name is None:
        raise ValueError(f"no cards are named {words!r}: write as in '8 H100', of {', '.join(PEAKS_FLOP_PER_S)}")
    return Cards(int(found[1] or found[2] or 1), name)


def cards_at_hand() -> list[Cards]:
    """This machine's, as far as the table of peaks knows them; those that it does not know are told."""
    found = []
    for device, count in Counter(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))).items():
        if (name := card_of(device)) is None:
            LOGGER.warning(
                "no durations are shown for %d %s, whose peak is not known: name a card like it by --cards", count, device
            )
        else:
            found.append(Cards(count, name))
    return found


def run_duration(
    preset: Preset, size: PresetSize, cards: Cards, hfu: float = ASSUMED_HFU, hour_price: float | None = None
) -> RunDuration:
    """What training `preset`, of that size, takes on `cards`.

    Args:
        hfu: the share of the cards' peak that is reached.
        hour_price: of one card for an hour, in whatever currency.
    """
    config = preset.train
    flop = step_flop(preset.base.transformer, size.video_tokens + size.reference_tokens, config).hardware
    # The card with the most clips is waited for.
    clips = -(-config.batch_size // cards.count)
    seconds = clips * flop / (PEAKS_FLOP_PER_S[cards.name] * hfu)
    gpu_hours = cards.count * config.steps * seconds / _HOUR_S
    return RunDuration(
        cards=str(cards),
        hfu=hfu,
        steps=config.steps,
        seconds_per_step=seconds,
        days=config.steps * seconds / _DAY_S,
        gpu_hours=gpu_hours,
        cost=None if hour_price is None else hour_price * gpu_hours,
    )
