"""How long a run takes: the figures of the closed formula, cards by their words."""

import pytest
import torch

from model.presets import PRESETS
from model.training.preset_table import preset_size
from model.training.time_estimate import Cards, cards_at_hand, cards_named, run_duration


@pytest.mark.parametrize(
    ("words", "cards"),
    [
        ("8 H100", Cards(8, "H100")),
        ("2x RTX 4090", Cards(2, "RTX 4090")),
        ("2 x 4090", Cards(2, "RTX 4090")),
        ("16xh200", Cards(16, "H200")),
        ("NVIDIA H100 PCIe", Cards(1, "H100 PCIe")),
        ("a100", Cards(1, "A100")),
    ],
)
def test_cards_are_known_by_words(words: str, cards: Cards) -> None:
    assert cards_named(words) == cards


@pytest.mark.parametrize("words", ["", "8", "0 H100", "8 GTX", "100"])
def test_others_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"no cards are named .*: write as in '8 H100', of B200, H200"):
        cards_named(words)


def test_a_run_takes_its_operations_at_the_share_of_the_peak() -> None:
    """6408 TFLOP a clip of 14B, as the project's guide derives; 32 clips over 6 cards are 6 on the fullest."""
    chosen = PRESETS["wan2.1-i2v-14b"]
    took = run_duration(chosen, preset_size(chosen), Cards(6, "H100"), hfu=0.5, hour_price=2.0)
    assert took.seconds_per_step == pytest.approx(6 * 6408 / (989 * 0.5), rel=0.01)
    assert took.days == pytest.approx(20_000 * took.seconds_per_step / 86_400)
    assert took.cost == 2 * took.gpu_hours == pytest.approx(2 * 6 * 24 * took.days)
    assert took.steps_in(took.days / 2) in (9_999, 10_000)


def test_a_card_whose_peak_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    names = ("NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    assert cards_at_hand() == [Cards(1, "H100")]
    assert "no durations are shown for 2 NVIDIA GeForce RTX 3090" in caplog.text
