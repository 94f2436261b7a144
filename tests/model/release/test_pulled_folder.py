"""A pulled model in the hands of others: stock diffusers with LoRA and face loader draws what we draw, as the pyfunc does."""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from model.bases.adopt import adopt_base
from model.bases.base import load_base
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.encoding.encoders import ClipEncoders
from model.encoding.face_features import FaceFeatures
from model.face_branch.trainable import assemble
from model.files import FolderTaken
from model.likeness import Bin, Likeness
from model.presets import EncoderConfig, Preset
from model.release.checkpoint import CheckpointError, EmbeddingSource, read_manifest, verify_checkpoint, write_checkpoint
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import LafidPipeline, load
from model.release.pulled_folder import write_pulled_folder
from model.release.stock import FaceBranch
from tests.model.conftest import hear
from tests.model.manifests import a_manifest
from tests.model.released import RELEASED, write_snapshot, write_vision_encoder
from tests.once import built_once

HALF = {"default": torch.float32, **dict.fromkeys(("transformer", "transformer_2", "text_encoder"), torch.bfloat16)}
SIDE, FRAMES, STEPS = 32, 5, 2
PROMPT = "A woman turns."


@dataclass(frozen=True)
class Pulled:
    """A model on a narrow base of a published layout, and its pulled folder."""

    base: Path
    semantic_dir: Path
    checkpoint: Path
    folder: Path

    @property
    def begins(self) -> bool:
        return read_manifest(self.checkpoint).base.layout in FIRST_FRAME_LAYOUTS

    def ours(self, engine: object) -> LafidPipeline:
        drawing = DrawingSettings(device="cpu", semantic_dir=self.semantic_dir)
        return load(self.checkpoint, self.base, drawing, engine)  # type: ignore[arg-type]

    def stock(self) -> DiffusionPipeline:
        kind = WanImageToVideoPipeline if self.begins else DiffusionPipeline
        pipeline = kind.from_pretrained(self.base / "components", dtype=HALF, use_safetensors=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def with_lora(self, files: tuple[str, str] = ("lora", "lora_2")) -> DiffusionPipeline:
        pipeline = self.stock()
        pipeline.load_lora_weights(self.folder / files[0], use_safetensors=True)
        if pipeline.config.get("boundary_ratio"):
            pipeline.load_lora_weights(self.folder / files[1], use_safetensors=True, load_into_transformer_2=True)
        return pipeline

    def drawn(self, pipeline: DiffusionPipeline, **given: object) -> NDArray[np.uint8]:
        video = pipeline(
            **({"image": PICTURE} if self.begins else {}),
            **given,
            prompt=PROMPT,
            height=SIDE,
            width=SIDE,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=2.0,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
        ).frames[0]
        return np.asarray((video * 255).round(), np.uint8)


REQUEST: dict[str, Any] = {"steps": STEPS, "guidance": 2.0, "seed": 3, "height": SIDE, "width": SIDE}
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
PHOTOS = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 50, 3), np.uint8)) for seed in (1, 2)]


@pytest.fixture(scope="session")
def pull(quick: Callable[..., Preset], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pulled]:
    """Makes a model of a base that hears its face, its LoRA twice as strong as its rank, and pulls it. Tests read it only."""

    def make(name: str, trainable: str = "adapter_and_lora", engine: str = "stub", width: int = 16) -> Pulled:
        found = built_once(
            tmp_path_factory, f"pulled {name} {trainable} {engine}", lambda found: build(found, name, trainable, engine, width)
        )
        return Pulled(found / "base", found / "clip", found / "checkpoint", found / "pulled")

    def build(found: Path, name: str, trainable: str, engine: str, width: int) -> None:
        spec = RELEASED[name]
        write_snapshot(found / "base" / "components", spec)
        adopt_base(found / "base", spec)
        semantic_dir = write_vision_encoder(found / "clip")
        dropout = 0.0 if spec.layout == "i2v" else 1.0
        lora = {"lora_rank": 4, "lora_alpha": 8, "base_lr": 1e-5}
        tiny = quick(first_frame_dropout=dropout, trainable=trainable, precision="bfloat16", **lora)
        chosen = tiny.model_copy(update={"base": spec, "encoders": EncoderConfig(semantic="folder", detail_side_px=32)})
        base = load_base(found / "base", "cpu", torch.bfloat16)
        features = FaceFeatures(torch.zeros(1, width), torch.zeros(1, 17, 32), torch.zeros(1, 16, spec.latent_channels))
        model = assemble(base, features, chosen.fusion, chosen.train)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for key, parameter in model.trainable().items():
                if "lora_B" in key or key.startswith("weights"):
                    parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.2)
        for _, fusion in model.attached:
            hear(fusion)
        encoders = ClipEncoders(base, chosen.encoders, semantic_dir)
        likeness = Likeness(
            frames=4,
            frames_without_face=1,
            mean=0.5,
            by_yaw={"yaw_0_20": Bin(frames=3, similarity=0.75)},
            by_expression={},
            subjects="s",
        )
        manifest = a_manifest(
            chosen,
            base.info,
            encoders_fingerprint=encoders.fingerprint,
            face_engine=EmbeddingSource(name=engine, version="1", width=width),
            likeness=likeness,
            dataset_version="dataset-7",
        )
        write_checkpoint(found / "checkpoint", model, manifest)
        tags = {"lafid.licences": "clips: CC-BY-4.0 | <b>![x](y)</b>; engine: MIT", "lafid.git_commit": "abc\n# Forged"}
        write_pulled_folder(found / "checkpoint", found / "pulled", ["torch==9"], tags, {"test_flow_loss": 0.125})

    return make


@pytest.mark.parametrize("name", ["wan2.2-ti2v-5b", "wan2.2-t2v-a14b", "wan2.1-vace-1.3b"])
def test_likeness_travels(name: str, pull: Callable[..., Pulled], stub_engine: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same prompt, seed and person by our pipeline, by the pyfunc, and by stock diffusers: equal frames."""
    pulled = pull(name)
    ours = pulled.ours(stub_engine())
    first = PICTURE if pulled.begins else None
    with_face = ours.generate(first, PROMPT, photos=PHOTOS, num_frames=FRAMES, **REQUEST)
    without = ours.generate(first, PROMPT, num_frames=FRAMES, choose=None, **REQUEST)
    assert not np.array_equal(with_face, without)

    monkeypatch.setattr("model.release.pipeline.engine_named", lambda _: stub_engine())
    assert _by_pyfunc(pulled) == hashlib.sha256(with_face.tobytes()).hexdigest()

    plain = pulled.drawn(pulled.stock())
    pipeline = pulled.with_lora()
    alone = pulled.drawn(pipeline)
    assert np.array_equal(alone, without), "the LoRA alone is our pipeline without a face"
    assert not np.array_equal(alone, plain), "it does something"
    face = FaceBranch(pipeline, pulled.folder, stub_engine(), pulled.semantic_dir)
    crop = face.show(PHOTOS)
    given = {"reference_images": [crop]} if name == "wan2.1-vace-1.3b" else {}
    assert np.array_equal(pulled.drawn(pipeline, **given), with_face)
    face.hide()
    assert np.array_equal(pulled.drawn(pipeline), alone)


def _by_pyfunc(pulled: Pulled) -> str:
    from model.release.pyfunc_model import LafidModel

    def encoded(picture: Image.Image) -> str:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()

    served = LafidModel()
    config = {
        "base_dir": str(pulled.base),
        "device": "cpu",
        "semantic_dir": str(pulled.semantic_dir),
        "precision": "",
        "queue": 1,
    }
    served.load_context(SimpleNamespace(artifacts={"checkpoint": str(pulled.folder)}, model_config=config))
    request = {"prompt": PROMPT, "photos": [encoded(photo) for photo in PHOTOS], "frames": FRAMES} | REQUEST
    if pulled.begins:
        request["image"] = encoded(PICTURE)
    (answer,) = served.predict(SimpleNamespace(), [request])
    return str(answer.frames_sha256)


@pytest.mark.parametrize("name", ["wan2.2-ti2v-5b", "wan2.2-t2v-a14b"])
def test_comfyuis_file_says_the_same_by_diffusers_own_reading_of_its_names(name: str, pull: Callable[..., Pulled]) -> None:
    pulled = pull(name)
    two = name.endswith("a14b")
    files = ("comfyui/lafid_high_noise.safetensors", "comfyui/lafid_low_noise.safetensors")
    ours = ("comfyui/lafid.safetensors", "") if not two else files
    assert np.array_equal(pulled.drawn(pulled.with_lora(ours)), pulled.drawn(pulled.with_lora()))
    assert {path.name for path in (pulled.folder / "comfyui").iterdir()} == {Path(file).name for file in ours if file}


def test_comfyuis_file_bears_its_names_and_alphas(pull: Callable[..., Pulled]) -> None:
    """Of VACE's blocks, too; by hand, for nobody else reads them."""
    pulled = pull("wan2.1-vace-1.3b")
    theirs = load_file(pulled.folder / "comfyui" / "lafid.safetensors")
    ours = load_file(next((pulled.folder / "lora").iterdir()))
    assert torch.equal(
        theirs["diffusion_model.vace_blocks.0.cross_attn.o.lora_up.weight"],
        ours["transformer.vace_blocks.0.attn2.to_out.0.lora_B.weight"],
    )
    assert torch.equal(
        theirs["diffusion_model.blocks.1.self_attn.q.lora_down.weight"], ours["transformer.blocks.1.attn1.to_q.lora_A.weight"]
    )
    alphas = [value for name, value in theirs.items() if name.endswith(".alpha")]
    assert all(alpha == 8 for alpha in alphas)
    assert 3 * len(alphas) == len(theirs)
    assert 2 * len(alphas) == len(ours)


def test_weights_of_the_base_travel_too(pull: Callable[..., Pulled], stub_engine: Callable) -> None:
    pulled = pull("wan2.2-ti2v-5b", trainable="adapter_and_cross_attention")
    assert {path.name for path in pulled.folder.iterdir()} == {
        *("README.md", "adapter", "weights", "code", "lafid.json", "load_face_branch.py", "requirements.txt")
    }
    expected = pulled.ours(stub_engine()).generate(PICTURE, PROMPT, photos=PHOTOS, num_frames=FRAMES, **REQUEST)
    pipeline = pulled.stock()
    FaceBranch(pipeline, pulled.folder, stub_engine(), pulled.semantic_dir).show(PHOTOS)
    assert np.array_equal(pulled.drawn(pipeline), expected)


def test_the_lora_is_loaded_before_the_face(pull: Callable[..., Pulled], stub_engine: Callable) -> None:
    pulled = pull("wan2.2-ti2v-5b")
    with pytest.raises(CheckpointError, match="part lora of .* is not loaded: call load_lora_weights with it first"):
        FaceBranch(pulled.stock(), pulled.folder, stub_engine(), pulled.semantic_dir)


def test_the_folder_is_a_checkpoint_with_a_card(pull: Callable[..., Pulled]) -> None:
    pulled = pull("wan2.2-t2v-a14b")
    assert verify_checkpoint(pulled.folder) == read_manifest(pulled.checkpoint)
    card = (pulled.folder / "README.md").read_text()
    for words in (
        "base_model: Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        "| dataset version | dataset-7 |",
        "| likeness_yaw_0_20 | 0.75 |",
        "| test_flow_loss | 0.125 |",
        "| clips | CC-BY-4.0 &#124; &#60;b>!&#91;x&#93;(y)&#60;/b> |",
        "| engine | MIT |",
        'load_lora_weights("lora_2", use_safetensors=True, load_into_transformer_2=True)',
        'pipe = DiffusionPipeline.from_pretrained("Wan-AI/Wan2.2-T2V-A14B-Diffusers", dtype={"default": torch.float32, ',
        'face = load_face_branch(pipe, semantic_dir="CLIP")',
        'frames = pipe(prompt="...", height=16, width=16, num_frames=3).frames[0]',
        "## Intended use",
        "## Limits",
    ):
        assert words in card
    assert "\n# Forged" not in card
    assert "0.5 |" in card
    assert (pulled.folder / "requirements.txt").read_text() == "torch==9\n"
    assert not list(pulled.folder.rglob("__pycache__"))


def test_it_is_whole_or_not_there(pull: Callable[..., Pulled], tmp_path: Path) -> None:
    pulled = pull("wan2.2-ti2v-5b")
    with pytest.raises(FolderTaken, match="is there already: name a folder that is not"):
        write_pulled_folder(pulled.checkpoint, pulled.folder, [], {}, {})
    checkpoint = shutil.copytree(pulled.checkpoint, tmp_path / "checkpoint")
    lafid = json.loads((checkpoint / "lafid.json").read_text())
    lafid["parts"]["lora"] = "0" * 64
    (checkpoint / "lafid.json").write_text(json.dumps(lafid))
    with pytest.raises(CheckpointError, match="part lora of .* is torn or changed"):
        write_pulled_folder(checkpoint, tmp_path / "other", [], {}, {})
    assert not (tmp_path / "other").exists()


_ELSEWHERE = """
import hashlib, sys
for name in ("lafid_assets", "resources", "sensors", "dagster", "mlflow", "duckdb", "polars", "cv2", "onnxruntime"):
    sys.modules[name] = None
import numpy as np, torch
from diffusers import WanImageToVideoPipeline
from PIL import Image
from load_face_branch import load_face_branch
torch.set_num_threads(1)
base, semantic_dir, photo = sys.argv[1:]
half = {"default": torch.float32, "transformer": torch.bfloat16, "text_encoder": torch.bfloat16}
pipe = WanImageToVideoPipeline.from_pretrained(base, dtype=half, use_safetensors=True)
pipe.load_lora_weights("lora", use_safetensors=True)
load_face_branch(pipe, semantic_dir=semantic_dir).show([Image.open(photo)], "largest")
import model
video = pipe(image=Image.open(photo).resize((32, 32)), prompt="A woman turns.", height=32, width=32, num_frames=5,
             num_inference_steps=2, guidance_scale=2.0, generator=torch.Generator().manual_seed(3), output_type="np").frames[0]
print(model.__path__[0])
print(hashlib.sha256((video * 255).round().astype(np.uint8).tobytes()).hexdigest())
"""


@pytest.mark.long
def test_where_there_is_no_lafid_its_one_file_loads_the_face(
    pull: Callable[..., Pulled], portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    """A fresh process in the folder, without this project, Dagster, MLflow, OpenCV; a photograph of a face, by dlib."""
    pulled = pull("wan2.2-ti2v-5b", engine="dlib", width=128)
    photo = Image.fromarray(portrait[:256, 100:356])
    photo.save(tmp_path / "photo.png")
    command = [
        sys.executable,
        "-c",
        _ELSEWHERE,
        str(pulled.base / "components"),
        str(pulled.semantic_dir),
        str(tmp_path / "photo.png"),
    ]
    done = subprocess.run(
        command, cwd=pulled.folder, env={"PYTHONPATH": "", "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place, digest = done.stdout.strip().splitlines()[-2:]
    assert place == str(pulled.folder / "code" / "model")
    drawing = DrawingSettings(device="cpu", semantic_dir=pulled.semantic_dir)
    frames = load(pulled.folder, pulled.base, drawing).generate(
        photo.resize((SIDE, SIDE)), PROMPT, photos=[photo], num_frames=FRAMES, choose="largest", **REQUEST
    )
    assert digest == hashlib.sha256(frames.tobytes()).hexdigest()
