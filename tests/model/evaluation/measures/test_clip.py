"""CLIPScore: red first for ours, blue first under ConsisID's name; a small CLIP runs as transformers runs the published one."""

import numpy as np
import pytest
import torch

from model.evaluation.measures.clip import TransformersClip, clip_score, clip_temporal_consistency, consisid_clip_score
from model.evaluation.measures.networks import Networks
from tests.model.evaluation.measures.invented import ColourClip, small_clip, taken, video


def _frames(count: int) -> np.ndarray:
    """Of which frame n is n of red and 200 - n of blue."""
    frames = np.zeros((count, 4, 4, 3), np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None]
    frames[..., 2] = 200 - np.arange(count)[:, None, None]
    return frames


def test_ours_sees_drawn_frames_in_red_green_blue(networks: Networks) -> None:
    """Of 48 drawn frames every third, from the first on; frame 0 was given."""
    assert clip_score(video(_frames(49), networks, prompt="a red one")) == pytest.approx(np.mean([1 + 3 * n for n in range(16)]))
    assert isinstance(networks.clip, ColourClip)
    assert networks.clip.asked[0][0] == "a red one"
    assert clip_score(video(_frames(48), networks, begins_given=False)) == pytest.approx(np.mean([3 * n for n in range(16)]))


def test_consisids_takes_int_of_i_by_t_over_16_and_blue_for_red(networks: Networks) -> None:
    expected = [200 - int(n * 49 / 16) for n in range(16)]
    assert consisid_clip_score(video(_frames(49), networks)) == pytest.approx(np.mean(expected))


def test_a_small_clip_scores_as_transformers_does(tmp_path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    small_clip(tmp_path)
    model, processor = CLIPModel.from_pretrained(tmp_path), CLIPProcessor.from_pretrained(tmp_path)
    frames, prompt = np.random.default_rng(0).integers(0, 256, (35, 40, 50, 3), np.uint8), "a dog runs " * 20
    inputs = processor(text=prompt, images=list(frames), return_tensors="pt", truncation=True, max_length=16, padding=True)
    with torch.no_grad():
        expected = model(**inputs)
    ours = TransformersClip.from_folder(tmp_path, "cpu")
    np.testing.assert_allclose(ours.logits(prompt, frames), expected.logits_per_image[:, 0], rtol=1e-4)
    np.testing.assert_allclose(ours.logits(prompt, frames[:2, :, :, ::-1]), ours.logits(prompt, frames[:2, :, :, ::-1].copy()))
    pictures = ours.pictures(frames)
    np.testing.assert_allclose(pictures, expected.image_embeds, atol=1e-5)
    assert np.linalg.norm(pictures, axis=1) == pytest.approx(1, abs=1e-5)


def test_neighbouring_frames_are_compared(networks: Networks) -> None:
    """The given frame is left out: it would be the one that differs."""
    frames = np.zeros((4, 4, 4, 3), np.uint8)
    frames[0, ..., 2], frames[1, ..., 0], frames[2, ..., 0], frames[3, ..., 1] = 100, 100, 50, 100
    assert clip_temporal_consistency(video(frames, networks)) == pytest.approx(0.5)


def test_what_cannot_be_computed_is_absent(networks: Networks) -> None:
    frames = _frames(2)
    for measure in (clip_score, consisid_clip_score, clip_temporal_consistency):
        assert "clip_vit_b32 (measure: CLIPScore) is not in the model store" in taken(measure, video(frames))
    assert taken(clip_score, video(frames, networks, prompt=" ")) == "the case has no prompt"
    assert taken(clip_score, video(frames[:1], networks)) == "no frame was drawn beside the given one"
    assert taken(clip_temporal_consistency, video(frames, networks)) == "it takes two drawn frames"
