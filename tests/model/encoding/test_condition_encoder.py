"""The control of a long clip is what the stock pipeline encodes, though not all of it is computed."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.encoding import condition_encoder as module
from model.encoding.condition_encoder import ConditionEncoder
from tests.model.layouts import TINY_I2V, with_wan_vae

FRAMES = 81
CHUNKS = 1 + (FRAMES - 1) // 4


def test_grey_frames_are_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_base(tmp_path / "base", spec=TINY_I2V)
    base = with_wan_vae(load_base(tmp_path / "base", "cpu"), TINY_I2V)
    calls: list[int] = []
    base.codec.encoder.down_blocks[0].register_forward_hook(lambda *_: calls.append(1))
    first = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    control = ConditionEncoder(base).first_frame_control(first, FRAMES)
    assert control.shape == (1, 16, CHUNKS, 2, 2)
    assert len(calls) < CHUNKS / 4
    calls.clear()
    monkeypatch.setattr(module, "left_out_where_still", lambda _: nullcontext())
    assert torch.equal(ConditionEncoder(base).first_frame_control(first, FRAMES), control)
    assert len(calls) == CHUNKS
