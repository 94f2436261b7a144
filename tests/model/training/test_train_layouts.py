"""The whole way on bases that are given pictures: encoded, trained, killed and resumed, loaded, drawn with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.bases.base import Base, load_base
from model.bases.conditions import with_picture
from model.bases.flow import add_noise, flow_loss
from model.bases.specs import BaseSpec
from model.clips.clip_parts import CONDITION_TENSORS
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset, Stage
from model.release.checkpoint import read_manifest
from model.release.pipeline import load
from model.training.batch_sampler import Order
from model.training.execution import prepare
from model.training.metrics import fixed_flow_loss
from model.training.objective import backward
from model.training.report import _tokens
from model.training.sampling import draw_step
from model.training.train import TrainingStopped, TrainReport, never, train
from tests.model.cached_clips import read_clip
from tests.model.drawing import ON_CPU
from tests.model.layouts import WITH_PICTURES
from tests.model.training.conftest import ALONE


@pytest.fixture(scope="module", params=sorted(WITH_PICTURES))
def prepared(request: pytest.FixtureRequest, clips_of: Callable[[BaseSpec], tuple[Path, Path]]) -> tuple[str, Path, Path]:
    """A base's name, its folder, and its clips."""
    return request.param, *clips_of(WITH_PICTURES[request.param])


@pytest.fixture
def configured(quick: Callable[..., Preset]) -> Callable[..., Preset]:
    def make(name: str, **train: object) -> Preset:
        dropped = 1.0 if name == "tiny-vace" else 0.0
        chosen = quick(trainable="adapter_and_lora", first_frame_dropout=dropped, ema_decay=None, **train)
        return Preset(**chosen.model_dump() | {"name": name, "base": WITH_PICTURES[name].model_dump()})

    return make


def test_a_clip_holds_what_its_base_is_given_and_shares_what_says_nothing_of_it(prepared: tuple[str, Path, Path]) -> None:
    name, _, clip_list = prepared
    clips = ClipSet(clip_list)
    parts = {"tiny-i2v": {"control", "image_embeds"}, "tiny-i2v-two-experts": {"control"}, "tiny-vace": {"control", "picture"}}[
        name
    ]
    keys = {part: {clips.entry(index).parts[part].key for index in range(len(clips))} for part in parts}
    assert all(not (set(clips.entry(index).parts) & {*CONDITION_TENSORS, "picture"}) - parts for index in range(len(clips)))
    # VACE's control says that nothing is known: one for all clips of a size.
    assert {part: len(found) for part, found in keys.items()} == {part: len(clips) for part in parts} | (
        {"control": 1} if name == "tiny-vace" else {}
    )
    batch, clip = clips.batch([1, 3], faces=[0, 2]), read_clip(clips, 3)
    for part in parts:
        held = clip.views.picture[2:3] if part == "picture" else getattr(clip.condition, part)
        assert torch.equal(getattr(batch.condition, part)[1:], held)


def test_what_a_step_draws_has_room_for_the_picture(prepared: tuple[str, Path, Path], configured: Callable[..., Preset]) -> None:
    name, _, clip_list = prepared
    clips, pictures = ClipSet(clip_list), int(name == "tiny-vace")
    chosen = configured(name, batch_size=2, face_loss_weight=3.0, curriculum=(Stage(until_step=1, frames=2),))
    order = Order(tuple(clips.buckets.values()), 2, 0)
    for step, frames in ((0, 2), (1, 3)):
        (drawn,) = draw_step(clips, order, chosen, step, ALONE).forwards
        assert drawn.noise.shape[2] == drawn.cell_weight.shape[1] == frames + pictures
        assert drawn.batch.latents.shape[2] == drawn.batch.condition.control.shape[2] == frames
        clean = with_picture(drawn.batch.latents, drawn.batch.condition)
        assert torch.equal(clean[:, :, pictures:], drawn.batch.latents), "the stock pipeline cuts the picture off in front"
        assert pictures == 0 or torch.equal(clean[:, :, :1], drawn.batch.condition.picture)
        assert (drawn.cell_weight[:, :pictures] == 1).all()
        assert (drawn.cell_weight[:, pictures] == 3).any()


def test_every_frame_of_it_is_drawn_anew_a_first_frame_too(
    prepared: tuple[str, Path, Path], configured: Callable[..., Preset], base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the stock pipelines denoise them; only a ti2v base is given a clean first latent."""
    name, base_dir, clip_list = prepared
    chosen, clips = configured(name, batch_size=2), ClipSet(clip_list)
    model = assemble(load_base(base_dir, "cpu"), clips.batch([0]).face, chosen.fusion, chosen.train)
    drawn = draw_step(clips, Order(tuple(clips.buckets.values()), 2, 0), chosen, 0, ALONE)
    clean = with_picture(drawn.forwards[0].batch.latents, drawn.forwards[0].batch.condition)
    given: list[torch.Tensor] = []
    real = FusedModel.velocity

    def noting(self: FusedModel, noisy: torch.Tensor, *more: object) -> torch.Tensor:
        given.append(noisy)
        return real(self, noisy, *more)

    monkeypatch.setattr(FusedModel, "velocity", noting)
    losses = backward(model, drawn, chosen, ALONE, never)
    # Of two views, of which 2 of 4 tokens are visible each, beside 4 tokens a frame.
    assert _tokens(losses, model, chosen) == 4 * clean.shape[2] + 2 * 2
    changed = (given[0] != clean).flatten(3).any(dim=3).any(dim=1)
    assert changed.all(), "every latent frame of every clip is noisy"
    monkeypatch.undo()
    held: list[bool] = []
    monkeypatch.setattr("model.training.metrics.add_noise", lambda *noised: held.append(noised[3]) or add_noise(*noised))
    fixed_flow_loss(model, clips, chosen.model_copy(update={"train": chosen.train.model_copy(update={"fixed_triples": 1})}))
    assert held == [False]
    ti2v = FusedModel(base, model.fusion)
    assert (ti2v.holds_first_frame(True), ti2v.holds_first_frame(False)) == (True, False)


def test_checkpointing_whole_graphs_and_bfloat16_compute_the_same(
    prepared: tuple[str, Path, Path], configured: Callable[..., Preset]
) -> None:
    name, base_dir, clip_list = prepared
    clips, alone = ClipSet(clip_list), ALONE

    def losses(compiled: bool = False, **train: object) -> torch.Tensor:
        chosen = configured(name, batch_size=2, **train)
        half = torch.bfloat16 if chosen.train.precision == "bfloat16" else None
        model = assemble(load_base(base_dir, "cpu", half), clips.batch([0]).face, chosen.fusion, chosen.train)
        prepare(model, chosen.train, alone)
        model.set_training(True)
        if compiled:
            for transformer in model.base.transformers:
                transformer.compile_repeated_blocks(fullgraph=True, backend="eager")
        drawn = draw_step(clips, Order(tuple(clips.buckets.values()), 2, 0), chosen, 0, ALONE)
        return backward(model, drawn, chosen, alone, never).flow

    plain = losses()
    assert torch.equal(losses(gradient_checkpointing=True), plain)
    if name == "tiny-vace":  # seconds for each; its side blocks are compiled for themselves
        torch.testing.assert_close(losses(compiled=True), plain)
    torch.testing.assert_close(losses(precision="bfloat16", gradient_checkpointing=True), plain, rtol=0.01, atol=0)


def test_killed_it_goes_on_to_the_same_bits_and_its_checkpoint_draws(
    prepared: tuple[str, Path, Path], configured: Callable[..., Preset], stub_engine: Callable, tmp_path: Path
) -> None:
    """With a short-clip stage and a weight on the face, which VACE's picture before the video must not shift."""
    name, base_dir, clip_list = prepared
    short = (Stage(until_step=1, frames=2),)
    chosen = configured(name, steps=3, checkpoint_every=2, batch_size=3, forward_clips=2, curriculum=short, face_loss_weight=3.0)
    heard: list[int] = []

    def go(folder: str, stop_at: int | None = None) -> Path:
        def report(told: TrainReport) -> None:
            heard.append(told.step)

        def stop() -> bool:
            return stop_at is not None and heard[-1] == stop_at

        where = (chosen, clip_list, base_dir, tmp_path / folder, report)
        return train(*where, dataset_version="v1", device="cpu", stop=stop).checkpoint_dir

    whole = go("whole")
    with pytest.raises(TrainingStopped):
        go("cut", stop_at=2)
    cut = go("cut")
    assert heard == [1, 2, 3, 1, 2, 3]
    assert read_manifest(cut) == read_manifest(whole)

    pipeline = load(whole, base_dir, ON_CPU, stub_engine())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    frames = pipeline.generate(None if name == "tiny-vace" else photo, "x", photos=[photo], steps=1, guidance=2.0)
    assert frames.shape == (3, 16, 16, 3)


@pytest.mark.parametrize("trainable", ["adapter_and_lora", "all"])
def test_every_trained_tensor_of_the_base_gets_gradient(
    prepared: tuple[str, Path, Path], configured: Callable[..., Preset], trainable: str
) -> None:
    """Those of VACE's blocks, of the image branch and of both transformers too, within three updates."""
    name, base_dir, clip_list = prepared
    base, chosen, clips = load_base(base_dir, "cpu"), configured(name), ClipSet(clip_list)
    wanted = chosen.fusion.model_copy(update={"aligner": None, "references": None})
    batch = clips.batch([0, 1])
    model = assemble(base, batch.face, wanted, chosen.train.model_copy(update={"trainable": trainable}))
    parameters, clean, sigma = model.trainable(), with_picture(batch.latents, batch.condition), torch.tensor([0.3, 0.95])
    optimizer, noise = torch.optim.AdamW(parameters.values(), lr=1e-2), torch.randn(clean.shape)
    keep = torch.tensor([True, False])
    for rows in ([0, 1], [1, 0], [0, 1]):
        optimizer.zero_grad()
        given = add_noise(clean, noise, sigma[rows], first_frame=False)
        velocity = model.velocity(given, sigma[rows], batch, keep[rows], first_frame=base.info.layout == "i2v")
        flow_loss(velocity, clean, noise, first_frame=False).mean().backward()
        optimizer.step()
    of_the_base = {name: parameter for name, parameter in parameters.items() if not name.startswith("adapter")}
    assert not [name for name, parameter in of_the_base.items() if parameter.grad is None or not parameter.grad.any()]


@pytest.mark.long
def test_the_loss_falls(prepared: tuple[str, Path, Path], configured: Callable[..., Preset], tmp_path: Path) -> None:
    name, base_dir, clip_list = prepared
    chosen = configured(name, steps=30, checkpoint_every=100, lr=5e-3, fixed_triples=16)
    chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update={"trainable": "all"})})
    result = train(chosen, clip_list, base_dir, tmp_path, lambda _: None, dataset_version="v1", device="cpu")
    assert result.loss_after <= 0.8 * result.loss_before


def test_a_preset_gives_a_first_frame_as_its_base_takes_it(configured: Callable[..., Preset]) -> None:
    for name, share in (("tiny-i2v", 0.2), ("tiny-vace", 0.0)):
        chosen = configured(name).model_dump()
        chosen["train"]["first_frame_dropout"] = share
        with pytest.raises(ValueError, match=f"base {name} of layout .* given a first frame: set train.first_frame_dropout"):
            Preset(**chosen)
