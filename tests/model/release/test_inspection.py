"""What is read out of a run is what the model did: gates a step and layer, dictionary elements a pose."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.inspection import Activations, InspectionError, dictionary_activations, gate_weights, pose_sweep
from model.release.pipeline import LafidPipeline
from tests.model.manifests import a_manifest

Make = Callable[..., LafidPipeline]


@pytest.fixture
def make(fused: Callable[..., FusedModel], quick: Callable[..., Preset], stub_engine: Callable) -> Make:
    def pipeline(**parts: object) -> LafidPipeline:
        model = fused(heard=True, **parts)
        preset = quick()
        preset = preset.model_copy(update={"fusion": preset.fusion.model_copy(update=parts)})
        manifest = a_manifest(preset, model.base.info, step=1)
        return LafidPipeline(model, manifest, stub_engine())

    return pipeline


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def test_gates_of_every_step_and_layer(make: Make, photo: Image.Image) -> None:
    pipeline = make()
    (gates,) = gate_weights(pipeline, photo, "x", steps=3)
    assert gates.weights.shape == (3, 2, 3)
    assert np.allclose(gates.weights.sum(axis=-1), 1, atol=1e-6)
    assert gates.timesteps[0] == pytest.approx(1000, abs=1)
    assert (np.diff(gates.timesteps) < 0).all()
    assert np.allclose(gates.by_layer, gates.weights.mean(axis=0))
    assert not np.allclose(gates.weights[0, 0], gates.weights[0, 1]), "a gate a layer"


def test_the_weights_are_those_of_the_face(make: Make, photo: Image.Image) -> None:
    pipeline = make(time_aware=False)
    (gates,) = gate_weights(pipeline, photo, "x", steps=2)
    with torch.no_grad():
        tokens = pipeline.model.fusion(pipeline.features([pipeline.face(photo)]))
        expected = [pipeline.model.fusion.gate(block)(tokens.pooled, torch.zeros(1, 192))[0].numpy() for block in range(2)]
    assert np.allclose(gates.weights, np.stack(expected)[None], atol=1e-6)


def test_one_gate_says_the_same_in_every_layer(make: Make, photo: Image.Image) -> None:
    (gates,) = gate_weights(make(kind="mofe", time_aware=False), photo, "x", steps=1)
    assert np.array_equal(gates.weights[:, 0], gates.weights[:, 1])


def test_dictionary_under_photos_and_under_a_sweep(make: Make, photo: Image.Image) -> None:
    pipeline = make()
    other = Image.fromarray(255 - np.asarray(photo))
    given = dictionary_activations(pipeline, [photo, other])
    assert given.weights.shape == (2, 64)
    assert np.allclose(given.weights.sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(given.weights[0], given.weights[1])
    swept = pose_sweep(pipeline, photo, [-60.0, 0.0, 60.0])
    assert swept.angles_deg.tolist() == [[-60, 0, 0], [0, 0, 0], [60, 0, 0]]
    assert np.allclose(swept.weights[1], given.weights[0], atol=1e-5), "the stub sees every face from the front"
    assert not np.allclose(swept.weights[0], swept.weights[2])


def test_sorting_goes_by_yaw() -> None:
    angles = np.array([[30, 0, 0], [-10, 5, 0], [0, 0, 0]], np.float32)
    posed = Activations(angles, np.eye(3, dtype=np.float32)).sorted_by_yaw()
    assert posed.angles_deg[:, 0].tolist() == [-10, 0, 30]
    assert posed.weights.argmax(axis=1).tolist() == [1, 2, 0]


def test_a_model_without_an_aligner_says_so(make: Make, photo: Image.Image) -> None:
    with pytest.raises(InspectionError, match="no pose-shared aligner"):
        dictionary_activations(make(aligner=None), [photo])
