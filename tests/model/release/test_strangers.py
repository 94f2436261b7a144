"""Checkpoints and bases that a stranger made to do harm are refused in a sentence, before anything of theirs is built or run."""

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model.bases.base import BaseError, load_base
from model.bases.digests import base_digest, component_digests
from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import assemble
from model.files import sha256_folder
from model.release.checkpoint import CheckpointError, read_manifest, write_checkpoint
from model.release.pipeline import load
from tests.model.drawing import ON_CPU
from tests.model.manifests import a_manifest

SOON_S = 5.0
"""Within which each is refused; an honest one of this size loads in a tenth of a second."""


@dataclass(frozen=True)
class Package:
    """A checkpoint and its base, to be tampered with: hashes are made to fit, as whoever tampers would."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def components(self) -> Path:
        return self.folder / "base" / "components"

    def edit(self, path: Path, **changes: Any) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def sign(self) -> None:
        sha256 = base_digest(component_digests(self.folder / "base"))
        self.edit(self.folder / "base" / "base.json", sha256=sha256)
        manifest = json.loads((self.checkpoint / "lafid.json").read_text())
        manifest["base"]["sha256"] = sha256
        manifest["parts"] |= {
            part: sha256_folder(self.checkpoint / part) for part in manifest["parts"] if (self.checkpoint / part).is_dir()
        }
        (self.checkpoint / "lafid.json").write_text(json.dumps(manifest))


class Bomb:
    """Unpickled it leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture(scope="module")
def honest(base_dir: Path, clip_list: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a LoRA on the tiny base, and a copy of that base."""
    from model.clip_size import ClipSize
    from model.clips.clip_set import ClipSet
    from model.presets import preset

    folder = tmp_path_factory.mktemp("honest")
    shutil.copytree(base_dir, folder / "base")
    tiny = preset("tiny")
    chosen = tiny.model_copy(
        update={
            "clip": ClipSize(frames=3, height=16, width=16),
            "train": tiny.train.model_copy(update={"trainable": "adapter_and_lora"}),
        }
    )
    base = load_base(folder / "base", "cpu")
    model = assemble(base, ClipSet(clip_list).batch([0]).face, chosen.fusion, chosen.train)
    manifest = a_manifest(chosen, base.info, encoders_fingerprint=ClipEncoders(base).fingerprint)
    write_checkpoint(folder / "checkpoint", model, manifest)
    return folder


@pytest.fixture
def package(honest: Path, tmp_path: Path) -> Package:
    shutil.copytree(honest, tmp_path / "package")
    return Package(tmp_path / "package")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Is there afterwards if code of the stranger's ran."""
    return tmp_path / "trace"


def _as_pickle(part: str) -> Callable[[Package, Path], None]:
    def tamper(package: Package, trace: Path) -> None:
        (file,) = (package.components / part).glob("*.safetensors")
        file.unlink()
        name = "pytorch_model.bin" if file.stem == "model" else "diffusion_pytorch_model.bin"
        (file.parent / name).write_bytes(pickle.dumps(Bomb(trace)))

    return tamper


def _own_class(package: Package, trace: Path) -> None:
    part = package.components / "transformer"
    package.edit(part / "config.json", _class_name="DiffusionPipeline")
    (part / "model_index.json").write_text(json.dumps({"_class_name": ["evil", "Evil"], "_diffusers_version": "0"}))
    (part / "evil.py").write_text(f"import os\nos.mkdir({str(trace)!r})\n")


def _own_tokenizer(package: Package, trace: Path) -> None:
    part = package.components / "tokenizer"
    package.edit(part / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}, tokenizer_class="T5Tokenizer")
    (part / "evil.py").write_text(f"import os\nos.mkdir({str(trace)!r})\nclass Evil: pass\n")


def _config(part: str, name: str = "config.json", **changes: Any) -> Callable[[Package, Path], None]:
    return lambda package, _: package.edit(package.components / part / name, **changes)


OF_THE_BASE: dict[str, tuple[Callable[[Package, Path], None], str]] = {
    "a pickled transformer": (_as_pickle("transformer"), "transformer .*cannot be loaded|no file named"),
    "a pickled text encoder": (_as_pickle("text_encoder"), "text_encoder .*cannot be loaded|no file named"),
    "a pipeline with code of its own": (_own_class, "of class DiffusionPipeline, a base's are"),
    "a tokenizer with code of its own": (_own_tokenizer, "tokenizer cannot be loaded: .*asks for auto_map"),
    "a tokenizer of another class": (
        _config("tokenizer", "tokenizer_config.json", tokenizer_class="RagTokenizer"),
        "of class RagTokenizer, a base's are",
    ),
    "an adapter on the text encoder": (
        lambda package, _: (package.components / "text_encoder" / "adapter_config.json").write_text("{}"),
        "adapter_config.json has no place there",
    ),
    "a scheduler that is a module": (
        _config("scheduler", "scheduler_config.json", _class_name="utils"),
        "class utils, .* no sch",
    ),
    "a scheduler that is a pipeline": (
        _config("scheduler", "scheduler_config.json", _class_name="DiffusionPipeline"),
        "class DiffusionPipeline, which is no scheduler",
    ),
    "a scheduler of 10^11 steps": (
        _config("scheduler", "scheduler_config.json", num_train_timesteps=10**11),
        "num_train_timesteps 100000000000, more than",
    ),
    "ten million layers": (_config("transformer", num_layers=10_000_000), "num_layers 10000000, its files hold"),
    "a million layers of text": (_config("text_encoder", num_layers=10**6), "num_layers 1000000, its files hold"),
    "words beyond number": (_config("text_encoder", vocab_size=10**12), "asks for .* numbers, its files hold"),
    "positions beyond number": (_config("transformer", rope_max_seq_len=10**10), "asks for .* numbers, its files hold"),
    "pictures beyond number": (
        _config("image_processor", "preprocessor_config.json", crop_size={"height": 10**7, "width": 10**7}),
        "asks for height 10000000, more than 4096",
    ),
    "a kernel from elsewhere": (_config("text_encoder", attn_implementation="evil/kernel"), "asks for attn_implementation"),
    "weights in another folder": (_config("text_encoder", transformers_weights="../../x.safetensors"), "transformers_weights"),
    "deep brackets": (
        lambda package, _: (package.components / "transformer" / "config.json").write_text("[" * 200_000),
        "nested too deeply",
    ),
}


@pytest.mark.parametrize("fault", OF_THE_BASE)
def test_a_base_that_would_do_harm_is_refused(
    fault: str, package: Package, trace: Path, stub_engine: Callable, capfd: pytest.CaptureFixture[str]
) -> None:
    tamper, message = OF_THE_BASE[fault]
    tamper(package, trace)
    package.sign()
    begun = time.process_time()
    with pytest.raises(BaseError, match=message):
        load(package.checkpoint, package.folder / "base", ON_CPU, stub_engine())
    assert time.process_time() - begun < SOON_S
    assert not trace.exists(), "code of the stranger's ran"
    assert "[y/N]" not in capfd.readouterr().out, "it asked on the terminal"


def test_the_untouched_one_loads(package: Package, stub_engine: Callable) -> None:
    assert load(package.checkpoint, package.folder / "base", ON_CPU, stub_engine())
    # In published configs that transformers 4.48 wrote.
    package.edit(package.components / "text_encoder" / "config.json", _attn_implementation_autoset=True)
    package.sign()
    assert load_base(package.folder / "base", "cpu")


def _part(name: str) -> Callable[[Package], None]:
    def tamper(package: Package) -> None:
        parts = json.loads((package.checkpoint / "lafid.json").read_text())["parts"]
        package.edit(package.checkpoint / "lafid.json", parts=parts | {name: "0" * 64})

    return tamper


def _text(old: str, new: str) -> Callable[[Package], None]:
    def tamper(package: Package) -> None:
        path = package.checkpoint / "lafid.json"
        told = path.read_text()
        assert old in told
        path.write_text(told.replace(old, new))

    return tamper


def _adapter(**changes: Any) -> Callable[[Package], None]:
    return lambda package: package.edit(package.checkpoint / "adapter" / "config.json", **changes)


def _tensors(part: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Package], None]:
    def tamper(package: Package) -> None:
        (path,) = (package.checkpoint / part).glob("*.safetensors")
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(change(load_file(path)), path, metadata=metadata)

    return tamper


def _first(value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: tensors | {(name := min(tensors)): value(tensors[name]).contiguous()}


def _lora_config(**changes: Any) -> Callable[[Package], None]:
    def tamper(package: Package) -> None:
        (path,) = (package.checkpoint / "lora").glob("*.safetensors")
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        told = json.loads(metadata["lora_adapter_metadata"]) | {f"transformer.{name}": value for name, value in changes.items()}
        save_file(load_file(path), path, metadata={"lora_adapter_metadata": json.dumps(told)})

    return tamper


def _link(name: str, target: str) -> Callable[[Package], None]:
    return lambda package: (package.checkpoint / name).symlink_to(target)


def _pipe(package: Package) -> None:
    os.mkfifo(package.checkpoint / "adapter" / "pipe.json")


OF_THE_CHECKPOINT: dict[str, tuple[Callable[[Package], None], str]] = {
    "a part up the tree": (_part("../../../../../etc/apt"), "names a part '../../../../../etc/apt', a checkpoint's are"),
    "an absolute part": (_part("/usr/share/doc"), "names a part '/usr/share/doc'"),
    "a part that is none": (_part("optimizer"), "names a part 'optimizer'"),
    "a link to a file": (_link("adapter/notes.json", "/etc/hostname"), "part adapter .* link or no plain file"),
    "a link to a folder": (_link("adapter/more", "/etc"), "part adapter .* link or no plain file"),
    "a pipe": (_pipe, "part adapter .* link or no plain file"),
    "a pickle": (
        lambda package: (package.checkpoint / "adapter" / "x.bin").write_bytes(b""),
        "part adapter .*x.bin has no place there",
    ),
    "a loss that is no number": (_text('"loss_after": 1.0', '"loss_after": NaN'), "no manifest: .*NaN is no number"),
    "a loss beyond number": (_text('"loss_after": 1.0', '"loss_after": 1e999'), "no manifest: .*1e999 is no number"),
    "deep brackets": (lambda package: (package.checkpoint / "lafid.json").write_text("[" * 200_000), "nested too deeply"),
    "no object": (lambda package: (package.checkpoint / "lafid.json").write_text("[]"), "is no manifest"),
    "ten million bytes": (lambda package: (package.checkpoint / "lafid.json").write_text(" " * 10**7), "bytes, more than"),
    "a crop beyond number": (_text('"detail_side_px": 64', '"detail_side_px": 1000000'), "detail_side_px 1000000, more than"),
    "a base up the tree": (_text('"name": "tiny",\n    "layout"', '"name": "../tiny",\n    "layout"'), "no manifest"),
    "a wide adapter": (_adapter(attention_width=2_000_000), "part adapter .* asks for .* numbers, its files hold"),
    "a deep adapter": (_adapter(blocks=10_000_000), "part adapter .* asks for blocks 10000000, its files hold"),
    "a deep resampler": (_adapter(resampler_layers=10_000_000), "part adapter .* asks for resampler_layers 10000000"),
    "an adapter of no shape": (_adapter(aligner={"dictionary": 0}), "part adapter .* describes no network"),
    "weights that are no numbers": (_tensors("adapter", _first(lambda t: t * torch.nan)), "part adapter .* not finite"),
    "a LoRA that is no numbers": (_tensors("lora", _first(lambda t: t + torch.inf)), "part lora .* not finite"),
    "a LoRA of another rank": (_tensors("lora", _first(lambda t: t[:1])), r"part lora .* has shape .*, the rank is 16"),
    "a LoRA of half a layer": (
        _tensors("lora", lambda tensors: {name: value for name, value in tensors.items() if name != max(tensors)}),
        "part lora .* it lacks transformer.blocks",
    ),
    "a LoRA elsewhere": (
        _tensors("lora", lambda tensors: tensors | {"transformer.patch_embedding.lora_A.weight": torch.zeros(16, 4)}),
        "holds transformer.patch_embedding.lora_A.weight, which is no LoRA",
    ),
    "a LoRA without alpha": (_lora_config(lora_alpha=None), "neither rank nor alpha"),
}


@pytest.mark.parametrize("fault", OF_THE_CHECKPOINT)
def test_a_checkpoint_that_would_do_harm_is_refused(fault: str, package: Package, stub_engine: Callable) -> None:
    tamper, message = OF_THE_CHECKPOINT[fault]
    tamper(package)
    if "part " in message or "LoRA" in fault or "adapter" in fault:
        package.sign()
    begun = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        load(package.checkpoint, package.folder / "base", ON_CPU, stub_engine())
    assert time.process_time() - begun < SOON_S


def test_of_a_loras_own_config_rank_and_alpha_alone_are_followed(package: Package, stub_engine: Callable) -> None:
    """The rest can name modules to import, other layers, and expressions that match for ever."""
    _lora_config(megatron_config={}, megatron_core="evil", target_modules="(a+)+$", lora_alpha=32)(package)
    package.sign()
    pipeline = load(package.checkpoint, package.folder / "base", ON_CPU, stub_engine())
    assert pipeline.model.base.transformer.blocks[0].attn1.to_q.scaling["lafid"] == 2.0
    assert read_manifest(package.checkpoint).preset.train.lora_rank == 16
