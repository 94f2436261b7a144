"""What the gates said can be read out, by block and timestep."""

from collections.abc import Callable

import pytest
import torch

from model.clips.clip_set import ClipSet
from model.face_branch.gate_trace import record_gates
from model.face_branch.trainable import FusedModel


@torch.no_grad()
@pytest.mark.parametrize("kind", ["cofe", "mofe"])
def test_a_reading_a_forward_with_a_weight_a_block(fused: Callable[..., FusedModel], clips: ClipSet, kind: str) -> None:
    model = fused(kind, heard=True)
    batch = clips.batch([0, 1])
    inputs = {"hidden_states": batch.latents, "encoder_hidden_states": batch.text}
    with record_gates(model.fusion, model.base.transformer) as readings:
        for sigma in (0.9, 0.4):
            model.velocity(batch.latents, torch.full((2,), sigma), batch)
        model.base.transformer(**inputs, timestep=torch.tensor([1.0, 1.0]))  # no face: nothing to read
    assert [reading.timestep for reading in readings] == pytest.approx([900, 400])
    for reading in readings:
        assert reading.weights.shape == (2, 2, 3)
        torch.testing.assert_close(reading.weights.sum(dim=-1), torch.ones(2, 2))
        assert torch.equal(reading.weights[:, 0], reading.weights[:, 1]) == (kind == "mofe")
    assert not torch.equal(readings[0].weights, readings[1].weights)
    model.velocity(batch.latents, torch.full((2,), 0.5), batch)
    assert len(readings) == 2
