"""Videos of held-out persons: a model in training draws what users will see, and trains on as if it had not."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.encoding.head_mask import MaskInfo
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import Manifest, read_manifest
from model.release.pipeline import load
from model.training.held_out_videos import SAMPLING_STEPS, draw_held_out, live_pipeline, measure_held_out
from model.training.kept_checkpoints import AVERAGED_CHECKPOINTS, CHECKPOINTS, name_of_step
from model.training.train import TrainReport, train

Quick = Callable[..., Preset]


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.fixture
def go(clip_list: Path, base_dir: Path, stub_engine: Callable, picture: NDArray[np.uint8]) -> Callable[..., Any]:
    """Trains; gives every report's figures and torch's generator, the last checkpoint's parts, and what each step drew."""

    def run(config: Preset, out_dir: Path, draws: bool) -> SimpleNamespace:
        figures: list[tuple[float, float, bytes]] = []
        drawn: dict[tuple[int, bool], NDArray[np.uint8]] = {}

        def report(progress: TrainReport) -> None:
            figures.append((progress.loss, progress.grad_norm, torch.get_rng_state().numpy().tobytes()))

        class Drawing:
            def draw(self, fused: FusedModel, manifest: Manifest, run_dir: Path) -> None:
                torch.rand(3)  # whatever is drawn from torch's own generator
                with live_pipeline(fused, manifest, stub_engine()) as pipeline:
                    drawn[manifest.step, manifest.averaged] = draw_held_out(pipeline, picture, "a smile")

            def tell(self, manifest: Manifest, run_dir: Path) -> None: ...

        torch.manual_seed(0)
        onlooker = Drawing() if draws else None
        result = train(config, clip_list, base_dir, out_dir, report, dataset_version="v1", device="cpu", onlooker=onlooker)
        parts = read_manifest(result.checkpoint_dir).parts
        return SimpleNamespace(figures=figures, drawn=drawn, parts=parts, run_dir=result.checkpoint_dir.parent)

    return run


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param({"trainable": "all"}, marks=pytest.mark.long),
        {"trainable": "adapter_and_lora", "ema_decay": None},
        pytest.param(
            {"trainable": "adapter_and_lora", "precision": "bfloat16", "gradient_checkpointing": True}, marks=pytest.mark.long
        ),
        pytest.param(
            {"trainable": "adapter", "compile_blocks": True, "deterministic": True, "ema_decay": None}, marks=pytest.mark.long
        ),
    ],
    ids=lambda setting: ", ".join(setting),
)
def test_drawing_changes_no_bit_of_the_training(
    go: Callable[..., Any], quick: Quick, tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []
    compile_forward = torch.compile

    def backend(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(1)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda forward, **how: compile_forward(forward, backend=backend, **how))
    torch._dynamo.reset()
    config = quick(steps=4, validate_every=1, **setting)
    without = go(config, tmp_path / "without", draws=False)
    graphs, _ = len(compiled), torch._dynamo.reset()
    with_it = go(config, tmp_path / "with", draws=True)
    assert {step for step, averaged in with_it.drawn if not averaged} == {1, 2, 3, 4}
    assert with_it.figures == without.figures
    assert with_it.parts == without.parts
    assert len(compiled) == 2 * graphs, "a video was drawn by compiled blocks, each shape of which costs minutes"
    assert bool(graphs) == setting.get("compile_blocks", False)


@pytest.mark.parametrize("trainable", [pytest.param("all", marks=pytest.mark.long), "adapter_and_lora"])
def test_it_draws_what_users_will_see(
    go: Callable[..., Any],
    quick: Quick,
    base_dir: Path,
    tmp_path: Path,
    stub_engine: Callable,
    picture: NDArray[np.uint8],
    trainable: str,
) -> None:
    """The same frames as the checkpoint of that step, loaded as users load it."""
    config = quick(steps=3, validate_every=1, keep_checkpoints=9, trainable=trainable, lr=5e-3)
    trained = go(config, tmp_path, draws=True)
    for step, averaged in ((1, False), (2, False), (2, True)):
        checkpoint = trained.run_dir / (AVERAGED_CHECKPOINTS if averaged else CHECKPOINTS) / name_of_step(step)
        pipeline = load(checkpoint, base_dir, "cpu", stub_engine())
        assert np.array_equal(draw_held_out(pipeline, picture, "a smile"), trained.drawn[step, averaged])
    assert not np.array_equal(trained.drawn[1, False], trained.drawn[2, False])
    assert not np.array_equal(trained.drawn[2, True], trained.drawn[2, False])


def test_afterwards_the_model_is_as_it_was_even_if_drawing_fails(
    fused: Callable[..., FusedModel], quick: Quick, stub_engine: Callable
) -> None:
    fresh = fused(trainable="adapter_and_lora")
    manifest = SimpleNamespace(preset=quick(precision="bfloat16"), head_mask=MaskInfo())
    before = {name: value.clone() for name, value in fresh.trainable().items()}
    with suppress(ZeroDivisionError), live_pipeline(fresh, manifest, stub_engine()):
        assert "forward" in fresh.base.transformer.__dict__
        raise ZeroDivisionError
    assert "forward" not in fresh.base.transformer.__dict__
    assert all(torch.equal(value, before[name]) for name, value in fresh.trainable().items())


def test_a_base_that_takes_no_first_frame_is_given_a_photo(picture: NDArray[np.uint8], quick: Quick) -> None:
    asked: dict[str, dict[str, Any]] = {}
    for layout in ("ti2v", "t2v"):

        def generate(image: Any, prompt: str, *, layout: str = layout, **more: Any) -> NDArray[np.uint8]:
            asked[layout] = {"image": image, "prompt": prompt, **more}
            return picture[None]

        manifest = SimpleNamespace(preset=quick(), base=SimpleNamespace(layout=layout))
        draw_held_out(SimpleNamespace(manifest=manifest, generate=generate), picture, "a smile")
    assert np.array_equal(np.asarray(asked["ti2v"]["image"]), picture)
    assert not asked["ti2v"]["photos"]
    assert asked["t2v"]["image"] is None
    assert np.array_equal(np.asarray(asked["t2v"]["photos"][0]), picture)
    for given in asked.values():
        assert (given["prompt"], given["num_frames"], given["height"], given["steps"]) == ("a smile", 3, 16, SAMPLING_STEPS)


@pytest.mark.parametrize(("layout", "measured"), [("ti2v", 2), ("i2v", 2), ("t2v", 3), ("vace", 3)])
def test_a_first_frame_that_was_given_is_not_measured(
    picture: NDArray[np.uint8], stub_engine: Callable, layout: str, measured: int
) -> None:
    pipeline = SimpleNamespace(manifest=SimpleNamespace(base=SimpleNamespace(layout=layout)), engine=stub_engine())
    reference = stub_engine().detect(picture)[0].embedding
    drawn = np.stack([picture, 255 - picture, 255 - picture])
    video = measure_held_out(pipeline, drawn, picture, reference)
    assert len(video.faces) == measured
    assert (video.faces[0].similarity > 0.999) == (measured == 3)
