"""Videos of held-out persons: a model in training draws what users will see, and trains on as if it had not."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from numpy.typing import NDArray

from model.clip_size import Bucket
from model.encoding.head_mask import MaskInfo
from model.encoding.video_io import fit_frames
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import Manifest, read_manifest
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import load
from model.training.checkpoint_retention import AVERAGED_CHECKPOINTS, CHECKPOINTS, name_of_step
from model.training.held_out_videos import SAMPLING_STEPS, Beginning, draw_held_out, live_pipeline, measure_held_out
from model.training.train import TrainReport, train
from tests.model.drawing import ON_CPU
from tests.model.manifests import a_manifest

Quick = Callable[..., Preset]


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.fixture
def beginning(picture: NDArray[np.uint8]) -> Beginning:
    """Of the only size that the tests train on."""
    return Beginning.of(picture, Bucket(3, 16, 16), (20, 20))


@pytest.fixture
def go(clip_list: Path, base_dir: Path, stub_engine: Callable, beginning: Beginning) -> Callable[..., Any]:
    """Trains; gives every report's figures and torch's generator, the last checkpoint's parts, and what each step drew."""

    def run(config: Preset, out_dir: Path, draws: bool) -> SimpleNamespace:
        figures: list[tuple[float, float, bytes]] = []
        drawn: dict[tuple[int, bool], NDArray[np.uint8]] = {}

        def report(progress: TrainReport) -> None:
            figures.append((progress.loss, progress.grad_norm, torch.get_rng_state().numpy().tobytes()))

        class Drawing:
            draws = True

            def draw(self, fused: FusedModel, manifest: Manifest, run_dir: Path) -> None:
                torch.rand(3)  # whatever is drawn from torch's own generator
                with live_pipeline(fused, manifest, stub_engine()) as pipeline:
                    drawn[manifest.step, manifest.averaged] = draw_held_out(pipeline, beginning, "a smile", steps=2)

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
    config = quick(steps=3, validate_every=1, **setting)
    without = go(config, tmp_path / "without", draws=False)
    graphs, _ = len(compiled), torch._dynamo.reset()
    with_it = go(config, tmp_path / "with", draws=True)
    assert {step for step, averaged in with_it.drawn if not averaged} == {1, 2, 3}
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
    beginning: Beginning,
    trainable: str,
) -> None:
    """The same frames as the checkpoint of that step, loaded as users load it."""
    config = quick(steps=3, validate_every=1, keep_checkpoints=9, trainable=trainable, lr=5e-3)
    trained = go(config, tmp_path, draws=True)
    for step, averaged in ((1, False), (2, False), (2, True)):
        checkpoint = trained.run_dir / (AVERAGED_CHECKPOINTS if averaged else CHECKPOINTS) / name_of_step(step)
        pipeline = load(checkpoint, base_dir, ON_CPU, stub_engine())
        assert np.array_equal(draw_held_out(pipeline, beginning, "a smile", steps=2), trained.drawn[step, averaged])
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


@pytest.mark.parametrize("layout", ["ti2v", "t2v"])
def test_a_clip_is_drawn_at_its_own_size_and_never_squeezed(quick: Quick, layout: str) -> None:
    """A base that takes no first frame is given the photo alone, as all are."""
    whole = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    asked: dict[str, Any] = {}

    def generate(image: Any, prompt: str, **more: Any) -> NDArray[np.uint8]:
        asked.update({"image": image, "prompt": prompt, **more})
        return whole[None]

    manifest = SimpleNamespace(preset=quick(), base=SimpleNamespace(layout=layout))
    beginning = Beginning.of(whole, Bucket(5, 32, 16), (60, 20))
    draw_held_out(SimpleNamespace(manifest=manifest, generate=generate), beginning, "a smile")
    [photo] = asked["photos"]
    assert np.array_equal(np.asarray(photo), whole)
    assert (asked["prompt"], asked["steps"]) == ("a smile", SAMPLING_STEPS)
    assert (asked["num_frames"], asked["height"], asked["width"]) == (5, 32, 16)
    if layout == "t2v":
        assert asked["image"] is None
    else:
        assert np.array_equal(np.asarray(asked["image"]), fit_frames(whole[None], 32, 16, (60, 20))[0])


def test_parts_that_took_turns_do_so_no_more(
    fused: Callable[..., FusedModel], quick: Quick, stub_engine: Callable, beginning: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the hooks of `enable_model_cpu_offload`, which would move them on in the middle of training."""
    fresh = fused()
    part = fresh.base.text_encoder
    manifest = a_manifest(quick(), fresh.base.info)
    asked: list[str] = []

    def take_turns(pipeline: Any, device: torch.device) -> None:
        asked.append(str(device))
        add_hook_to_module(pipeline.text_encoder, ModelHook())

    monkeypatch.setattr("diffusers.DiffusionPipeline.enable_model_cpu_offload", take_turns)
    with live_pipeline(fresh, manifest, stub_engine(), DrawingSettings(low_memory=True, device="cuda:7")) as pipeline:
        draw_held_out(pipeline, beginning, "a smile", steps=2)
        assert hasattr(part, "_hf_hook")
    assert asked == ["cpu"], "the model's device"
    assert not hasattr(part, "_hf_hook")


@pytest.mark.parametrize(("layout", "measured"), [("ti2v", 2), ("i2v", 2), ("t2v", 3), ("vace", 3)])
def test_a_first_frame_that_was_given_is_not_measured(
    picture: NDArray[np.uint8], beginning: Beginning, stub_engine: Callable, layout: str, measured: int
) -> None:
    pipeline = SimpleNamespace(manifest=SimpleNamespace(base=SimpleNamespace(layout=layout)), engine=stub_engine())
    reference = stub_engine().detect(picture)[0].embedding
    drawn = np.stack([picture, 255 - picture, 255 - picture])
    video = measure_held_out(pipeline, drawn, beginning, reference)
    assert len(video.faces) == measured
    assert (video.faces[0].similarity > 0.999) == (measured == 3)
