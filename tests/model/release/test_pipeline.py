"""Generation: it begins with the picture, repeats itself, listens to the face, refuses what it cannot draw."""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from PIL import Image

from model.bases.base import load_base
from model.bases.sizes import SizeError
from model.clips.clip_set import ClipSet
from model.encoding.encoders import ClipEncoders
from model.encoding.face_processor import FaceError
from model.encoding.head_mask import MaskInfo, MaskUnusable
from model.encoding.video_io import fit_frames, read_frames, write_mp4
from model.face_branch.trainable import assemble
from model.files import sha256_file
from model.model_store.install import install
from model.model_store.registry import Kind
from model.model_store.store import ModelStore
from model.presets import Preset
from model.release.checkpoint import CheckpointError, read_manifest, write_checkpoint
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import DrawingOutOfMemory, InputError, LafidPipeline, load
from model.training.metrics import psnr
from tests.model.conftest import hear
from tests.model.drawing import ON_CPU
from tests.model.manifests import a_manifest


@pytest.fixture(scope="module")
def _checkpoint(base_dir: Path, clip_list: Path, quick: Callable[..., Preset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, chosen = load_base(base_dir, "cpu"), quick(trainable="adapter")
    model = assemble(base, ClipSet(clip_list).batch([0, 1]).face, chosen.fusion, chosen.train)
    hear(model.fusion)
    manifest = a_manifest(quick(), base.info, encoders_fingerprint=ClipEncoders(base).fingerprint)
    folder = tmp_path_factory.mktemp("checkpoint") / "checkpoint"
    write_checkpoint(folder, model, manifest)
    return folder


@pytest.fixture
def checkpoint_dir(_checkpoint: Path, tmp_path: Path) -> Path:
    """Of a model that hears its face; the test's own."""
    return shutil.copytree(_checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def pipeline(checkpoint_dir: Path, base_dir: Path, stub_engine: Callable) -> LafidPipeline:
    return load(checkpoint_dir, base_dir, ON_CPU, stub_engine())


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def test_it_begins_with_the_picture(pipeline: LafidPipeline, image: Image.Image) -> None:
    frames = pipeline.generate(image, "x", steps=2)
    assert frames.shape == (3, 16, 16, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames[0], np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)))
    assert not np.array_equal(frames[1], frames[0])


def test_the_video_on_disk_begins_with_the_photograph(pipeline: LafidPipeline, tmp_path: Path) -> None:
    """The product's own bar: 30 dB against the given image at the video's size."""
    photograph = Image.fromarray(pytest.importorskip("skimage.data", reason="needs scikit-image's photograph").astronaut())
    frames = pipeline.generate(photograph, "x", height=64, width=64, num_frames=9, steps=1)
    write_mp4(tmp_path / "out.mp4", frames, pipeline.fps)
    reference = np.asarray(photograph.resize((64, 64), Image.Resampling.BICUBIC))
    assert psnr(read_frames(tmp_path / "out.mp4", [0.0])[0], reference) >= 30


def test_the_same_request_gives_the_same_bits_another_seed_or_face_does_not(
    pipeline: LafidPipeline, image: Image.Image, stub_engine: Callable
) -> None:
    first, again = (pipeline.generate(image, "x", steps=2) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, seed=1))
    assert not np.array_equal(first, pipeline.generate(image, "another prompt", steps=2))
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, face_guidance=2.0))
    pipeline.engine.faces = 2  # the second face's box, and so its crop, is smaller
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, choose=1))


def test_without_a_face_it_draws_what_the_base_draws(pipeline: LafidPipeline, image: Image.Image, base_dir: Path) -> None:
    frames = pipeline.generate(image, "x", steps=2, choose=None, guidance=2.0)
    stock = load_base(base_dir, "cpu").image_to_video()(
        image=image.resize((16, 16), Image.Resampling.BICUBIC),
        prompt="x",
        height=16,
        width=16,
        num_frames=2,
        num_inference_steps=2,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    )
    assert np.array_equal(frames, (stock.frames[0] * 255).round().astype(np.uint8))
    assert not np.array_equal(frames, pipeline.generate(image, "x", steps=2, guidance=2.0))


def test_the_size_follows_the_picture(pipeline: LafidPipeline, image: Image.Image) -> None:
    assert pipeline.generate(image.resize((80, 20)), "x", steps=1).shape == (3, 16, 32, 3)
    assert pipeline.generate(image, "x", steps=1, height=32, width=16, num_frames=1).shape == (1, 32, 16, 3)


def test_of_one_side_alone_the_other_follows(pipeline: LafidPipeline, image: Image.Image) -> None:
    """In the picture's aspect, or in the trained one where no picture is the first frame."""
    wide = image.resize((80, 20))
    assert pipeline.generate(wide, "x", steps=1, height=16).shape == (3, 16, 64, 3)
    assert pipeline.generate(wide, "x", steps=1, width=32).shape == (3, 16, 32, 3)
    assert pipeline.generate(None, "x", photos=[wide], steps=1, height=32).shape == (3, 32, 32, 3)


def test_another_aspect_cuts_around_the_face_and_says_so(
    pipeline: LafidPipeline, image: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    """The stand-in's face lies to the left of a wide picture; its own aspect, or nearly so, is nothing to speak of."""
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 120, 3), dtype=np.uint8))
    left, middle = (fit_frames(np.asarray(wide)[None], 16, 16, (x, 20))[0] for x in (20, 60))
    square = {"steps": 1, "height": 16, "width": 16}
    assert np.array_equal(pipeline.generate(wide, "x", **square)[0], left)
    assert "120 x 40 (width x height) is cut to the aspect of 16 x 16 around its face: 67 % of it is lost" in caplog.text
    assert np.array_equal(pipeline.generate(wide, "x", photos=[image], **square)[0], left)
    assert np.array_equal(pipeline.generate(wide, "x", choose=None, **square)[0], middle)
    caplog.clear()
    pipeline.generate(image.resize((41, 40)), "x", **square)
    assert not caplog.text


def test_illegal_sizes_and_missing_faces_are_refused(pipeline: LafidPipeline, image: Image.Image, stub_engine: Callable) -> None:
    with pytest.raises(SizeError, match="16 x 16"):
        pipeline.generate(image, "x", height=15, width=20)
    pipeline.engine.faces = 0
    with pytest.raises(FaceError, match="no face"):
        pipeline.generate(image, "x")


@pytest.mark.parametrize(
    "settings", [{"guidance": math.nan}, {"face_guidance": math.inf}, {"steps": 0}, {"seed": -1}, {"seed": 2**64}], ids=str
)
def test_settings_that_are_none_are_refused(pipeline: LafidPipeline, image: Image.Image, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give (numbers|at least one step)"):
        pipeline.generate(image, "x", **settings)


def test_another_engines_embeddings_are_refused(checkpoint_dir: Path, base_dir: Path, stub_engine: Callable) -> None:
    engine = stub_engine()
    engine.info = type(engine.info)("other", "1", 512, "none", "other")
    with pytest.raises(CheckpointError, match="trained on stub's identity embeddings"):
        load(checkpoint_dir, base_dir, ON_CPU, engine)
    with pytest.raises(CheckpointError, match="no face engine here is named 'stub'"):
        load(checkpoint_dir, base_dir, ON_CPU)


def test_a_face_is_cut_out_as_in_training_or_not_at_all(
    checkpoint_dir: Path,
    base_dir: Path,
    stub_engine: Callable,
    image: Image.Image,
    tmp_path: Path,
    write_network: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "models"))
    by_oval = load(checkpoint_dir, base_dir, ON_CPU, stub_engine()).face(image).crop
    network = write_network(tmp_path / "matting.onnx", Kind.MATTING, 0.5)
    mask = MaskInfo(name="modnet", sha256=sha256_file(network))
    manifest = read_manifest(checkpoint_dir).model_copy(update={"head_mask": mask})
    (checkpoint_dir / "lafid.json").write_text(manifest.model_dump_json())
    with pytest.raises(MaskUnusable, match="cut out by modnet .*lafid models fetch modnet"):
        load(checkpoint_dir, base_dir, ON_CPU, stub_engine())
    install(ModelStore(tmp_path / "models"), "modnet", [network])
    by_network = load(checkpoint_dir, base_dir, ON_CPU, stub_engine()).face(image).crop
    assert not np.array_equal(by_network, by_oval)
    assert by_network.min() >= 127, "half white"


def test_a_prompt_that_is_cut_says_where(pipeline: LafidPipeline, image: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline.generate(image, "a" * 511 + " and the end", steps=1)
    assert "' and the end'" in caplog.text
    assert "Rounding" not in caplog.text


def test_from_a_photo_alone_every_frame_is_drawn(pipeline: LafidPipeline, image: Image.Image) -> None:
    frames = pipeline.generate(None, "x", photos=[image], steps=2)
    assert frames.shape == (3, 16, 16, 3)
    assert np.array_equal(frames, pipeline.generate(None, "x", photos=[image], steps=2))
    first = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    assert psnr(frames[0], first) < 20, "the photo is no first frame"
    other = Image.fromarray(255 - np.asarray(image))
    assert not np.array_equal(frames, pipeline.generate(None, "x", photos=[other], steps=2))
    nobody = pipeline.generate(None, "x", steps=2, choose=None)
    assert not np.array_equal(frames, nobody)
    seen: list[torch.Size] = []
    pipeline.model.base.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["timestep"].shape), with_kwargs=True
    )
    pipeline.generate(None, "x", photos=[image], steps=1, guidance=1.0)
    assert seen == [(1, 12)], "every token of the video has a timestep, as trained"


def test_further_photos_are_views_of_the_same_person(pipeline: LafidPipeline, image: Image.Image) -> None:
    other = Image.fromarray(255 - np.asarray(image))
    one = pipeline.generate(image, "x", steps=1, photos=[image])
    assert np.array_equal(one, pipeline.generate(image, "x", steps=1)), "without photos the first frame is the only one"
    two = pipeline.generate(image, "x", steps=1, photos=[image, other])
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, pipeline.generate(image, "x", steps=1, photos=[other, image]))
    seen: list[int] = []
    pipeline.model.base.transformer.blocks[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape[1]))
    pipeline.generate(image, "x", steps=1, guidance=1.0, photos=[image, other])
    assert seen == [2 * 6, 12], "of each photo 6 of 16 tokens, as in training, then the video's"


def test_identity_is_the_mean_of_the_photos(pipeline: LafidPipeline, image: Image.Image) -> None:
    other = Image.fromarray(255 - np.asarray(image))
    faces = [pipeline.face(photo) for photo in (image, other)]
    identity = pipeline.features(faces).identity[0].numpy()
    mean = faces[0].embedding + faces[1].embedding
    assert np.allclose(identity, mean / np.linalg.norm(mean), atol=1e-6)
    assert torch.equal(pipeline.features(faces).semantic, pipeline.features(faces[:1]).semantic)


def test_the_negative_prompt_counts_where_text_is_guided(pipeline: LafidPipeline, image: Image.Image) -> None:
    plain = pipeline.generate(image, "x", steps=1, guidance=3.0)
    assert not np.array_equal(plain, pipeline.generate(image, "x", steps=1, guidance=3.0, negative_prompt="blurred"))


def test_what_the_base_cannot_draw_from_is_refused(pipeline: LafidPipeline, image: Image.Image) -> None:
    with pytest.raises(InputError, match="nobody to draw"):
        pipeline.generate(None, "x")
    info = pipeline.model.base.info
    for layout, first, message in (("t2v", image, "give the picture as a photo"), ("i2v", None, "give a first frame")):
        other = replace(pipeline.model.base, info=info.model_copy(update={"layout": layout}))
        pipeline.model = replace(pipeline.model, base=other)
        with pytest.raises(InputError, match=message):
            pipeline.generate(first, "x", photos=[image])


def test_a_face_without_pose_is_refused_where_the_model_needs_one(pipeline: LafidPipeline, image: Image.Image) -> None:
    pipeline.engine.rotation = None
    with pytest.raises(FaceError, match="stub cannot tell the face's pose"):
        pipeline.generate(image, "x", steps=1)


def test_steps_are_reported(pipeline: LafidPipeline, image: Image.Image) -> None:
    heard: list[tuple[int, int]] = []
    pipeline.generate(image, "x", steps=2, on_step=lambda done, steps: heard.append((done, steps)))
    assert heard == [(1, 2), (2, 2)]


def test_a_card_that_is_too_small_names_what_saves_memory(
    pipeline: LafidPipeline,
    checkpoint_dir: Path,
    base_dir: Path,
    image: Image.Image,
    stub_engine: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB.")

    told = r"out of memory in drawing with tiny \(CUDA out of memory. Tried to allocate 2.00 GiB\). To save memory: "
    with pytest.raises(DrawingOutOfMemory), pipeline.in_place():
        full()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "denoisers", full)
        with pytest.raises(DrawingOutOfMemory, match=f"{told}set precision to bfloat16, set low_memory, draw fewer frames, or a"):
            pipeline.generate(image, "A face turns.", steps=1)
    monkeypatch.setattr("model.release.pipeline.load_base", full)
    with pytest.raises(DrawingOutOfMemory, match=f"{told}draw fewer frames"):
        load(checkpoint_dir, base_dir, ON_CPU.model_copy(update={"low_memory": True, "precision": "bfloat16"}), stub_engine())


def test_one_that_is_broken_off_between_two_steps_leaves_the_next_as_it_would_be(
    pipeline: LafidPipeline, image: Image.Image
) -> None:
    """As a request does whose time is over."""
    expected = pipeline.generate(image, "x", steps=2, face_guidance=2.0)

    def break_off(done: int, _steps: int) -> None:
        if done == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        pipeline.generate(Image.new("RGB", (40, 40), "red"), "y", steps=20, seed=9, on_step=break_off)
    assert np.array_equal(pipeline.generate(image, "x", steps=2, face_guidance=2.0), expected)


def test_the_precision_is_the_trainings_and_half_keeps_what_must_stay_fine(
    checkpoint_dir: Path, base_dir: Path, stub_engine: Callable, image: Image.Image
) -> None:
    fine = load(checkpoint_dir, base_dir, ON_CPU, stub_engine()).generate(image, "x", steps=1)
    manifest = checkpoint_dir / "lafid.json"
    manifest.write_text(manifest.read_text().replace('"precision": "float32"', '"precision": "bfloat16"'))
    as_asked = DrawingSettings(device="cpu", precision="float32")
    assert np.array_equal(load(checkpoint_dir, base_dir, as_asked, stub_engine()).generate(image, "x", steps=1), fine)
    half = load(checkpoint_dir, base_dir, ON_CPU, stub_engine())
    transformer = half.model.base.transformer
    assert transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert transformer.blocks[0].norm2.weight.dtype == torch.float32
    assert transformer.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
    assert half.model.base.codec.dtype == torch.float32
    assert half.model.fusion.dtype == torch.bfloat16
    drawn = half.generate(image, "x", steps=1)
    assert psnr(drawn, fine) > 25
    assert not np.array_equal(drawn, fine)


def test_for_small_cards_parts_take_turns_and_the_vae_tiles(
    checkpoint_dir: Path, base_dir: Path, stub_engine: Callable, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(
        "diffusers.DiffusionPipeline.enable_model_cpu_offload", lambda self, device: asked.append(torch.device(device))
    )
    pipeline = load(checkpoint_dir, base_dir, DrawingSettings(device="cpu", low_memory=True), stub_engine())
    pipeline.generate(image, "x", steps=1)
    assert asked == [torch.device("cpu")]
    moved: list[str] = []
    elsewhere = LafidPipeline(pipeline.model, pipeline.manifest, pipeline.engine, DrawingSettings(low_memory=True, device="cuda"))
    monkeypatch.setattr(type(pipeline.model.base.transformer), "to", lambda _, device: moved.append(str(device)))
    with elsewhere.in_place():
        assert moved == ["cuda"], "what is called without drawing is called where it computes"
    assert moved == ["cuda", "cpu"]
    vae = AutoencoderKLWan(base_dim=3, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False])
    other = replace(pipeline.model, base=replace(pipeline.model.base, codec=vae))
    monkeypatch.setattr("model.release.pipeline.ClipEncoders", lambda *_: None)
    LafidPipeline(other, pipeline.manifest, pipeline.engine)
    assert not vae.use_tiling
    LafidPipeline(other, pipeline.manifest, pipeline.engine, DrawingSettings(low_memory=True))
    assert vae.use_tiling


def test_other_encoders_than_trained_with_are_refused(checkpoint_dir: Path, base_dir: Path, stub_engine: Callable) -> None:
    manifest = checkpoint_dir / "lafid.json"
    fingerprint = read_manifest(checkpoint_dir).encoders_fingerprint
    manifest.write_text(manifest.read_text().replace(fingerprint, "0" * 64))
    with pytest.raises(CheckpointError, match="trained on features of encoders 000000000000"):
        load(checkpoint_dir, base_dir, ON_CPU, stub_engine())
