"""A checkpoint comes back bit for bit in a fresh process, and refuses by name what does not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file

from model.bases.base import Base, load_base
from model.bases.build import build_tiny_base
from model.bases.specs import TINY_TWO_EXPERTS
from model.clips.clip_set import Batch, ClipSet
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset
from model.release.checkpoint import CheckpointError, Manifest, load_checkpoint, read_manifest, write_checkpoint
from tests.forked import Fresh
from tests.model.manifests import a_manifest

Fused = Callable[..., FusedModel]

_VELOCITY = """
import sys
from pathlib import Path
import torch
from model.bases.base import load_base
from model.release.checkpoint import load_checkpoint
from model.clips.clip_set import ClipSet
from model.face_branch.references import References
torch.set_num_threads(1)
base_dir, clips, *checkpoints = map(Path, sys.argv[1:])
batch = ClipSet(clips).batch([0], views=[[0, 1]])
references = References(batch.references)
for checkpoint in checkpoints:
    model = load_checkpoint(checkpoint, load_base(base_dir, "cpu"))
    with torch.no_grad():
        print(model.velocity(batch.latents, torch.tensor([0.5]), batch, references=references).numpy().tobytes().hex())
"""


@pytest.fixture
def manifest(base: Base, quick: Callable[..., Preset]) -> Manifest:
    return a_manifest(quick(), base.info)


def trained(fused: Fused, trainable: str) -> FusedModel:
    """As if after training: nothing that trains is as it was."""
    model = fused(trainable=trainable, heard=True)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model


@torch.no_grad()
def velocity(model: FusedModel, batch: Batch) -> torch.Tensor:
    return model.velocity(batch.latents, torch.tensor([0.5]), batch, references=References(batch.references))


def test_round_trip_in_a_fresh_process_is_bit_equal(
    fresh_processes: Fresh,
    base_dir: Path,
    clip_list: Path,
    clips: ClipSet,
    manifest: Manifest,
    quick,
    features,
    tmp_path: Path,
) -> None:
    expected, folders = [], []
    for trainable in ("adapter", "adapter_and_cross_attention", "adapter_and_lora", "all"):

        def fresh(trainable: str, heard: bool) -> FusedModel:
            chosen = quick(trainable=trainable)
            return assemble(load_base(base_dir, "cpu"), features, chosen.fusion, chosen.train)

        model = trained(fresh, trainable)
        folders.append(tmp_path / trainable)
        write_checkpoint(folders[-1], model, manifest)
        expected.append(velocity(model, clips.batch([0], views=[[0, 1]])).numpy().tobytes().hex())
    assert len(set(expected)) == 4
    [ended] = fresh_processes(_VELOCITY, base_dir, clip_list, *folders)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == expected


@pytest.mark.parametrize(
    ("trainable", "parts"), [("adapter", {"adapter"}), ("adapter_and_lora", {"adapter", "lora"}), ("all", {"adapter", "weights"})]
)
def test_only_what_trained_is_in_it(fused: Fused, manifest: Manifest, tmp_path: Path, trainable: str, parts: set[str]) -> None:
    written = write_checkpoint(tmp_path / "c", fused(trainable=trainable), manifest)
    assert set(written.parts) == parts
    assert {path.name for path in (tmp_path / "c").iterdir()} == parts | {"lafid.json"}
    assert read_manifest(tmp_path / "c") == written
    assert {path.suffix for path in (tmp_path / "c").rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_of_the_base_only_the_tensors_that_trained_are_in_it(fused: Fused, manifest: Manifest, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", fused(trainable="adapter_and_cross_attention"), manifest)
    keys = set(load_file(tmp_path / "c" / "weights" / "weights.safetensors"))
    assert keys
    assert {key.split(".")[2] for key in keys} == {"attn2"}


def test_two_transformers_come_back_with_a_part_each(manifest: Manifest, quick, features, clips: ClipSet, tmp_path: Path) -> None:
    info = build_tiny_base(tmp_path / "two", spec=TINY_TWO_EXPERTS)

    def fresh(trainable: str, heard: bool) -> FusedModel:
        chosen = quick(trainable=trainable)
        return assemble(load_base(tmp_path / "two", "cpu"), features, chosen.fusion, chosen.train)

    model = trained(fresh, "adapter_and_lora")
    written = write_checkpoint(tmp_path / "c", model, manifest.model_copy(update={"base": info}))
    assert set(written.parts) == {"adapter", "adapter_2", "lora", "lora_2"}
    loaded = load_checkpoint(tmp_path / "c", load_base(tmp_path / "two", "cpu"))
    batch, sigma = clips.batch([0, 1]), torch.tensor([0.95, 0.5])
    with torch.no_grad():
        assert torch.equal(loaded.velocity(batch.latents, sigma, batch), model.velocity(batch.latents, sigma, batch))
    one = written.model_copy(update={"parts": {name: written.parts[name] for name in ("adapter", "lora")}})
    (tmp_path / "c" / "lafid.json").write_text(one.model_dump_json())
    with pytest.raises(CheckpointError, match="part adapter_2 of .* is missing"):
        load_checkpoint(tmp_path / "c", load_base(tmp_path / "two", "cpu"))


def test_a_base_of_another_commit_is_refused_by_name(fused: Fused, manifest: Manifest, tmp_path: Path) -> None:
    model = fused()
    named = manifest.base.model_copy(update={"repository": "owner/wan", "revision": "a" * 40})
    write_checkpoint(tmp_path / "c", model, manifest.model_copy(update={"base": named}))
    newer = replace(model.base, info=named.model_copy(update={"revision": "b" * 40}))
    with pytest.raises(CheckpointError, match=r"trained on base tiny \(owner/wan@a{40}\) .*, not on tiny \(owner/wan@b{40}\)"):
        load_checkpoint(tmp_path / "c", newer)


def test_loras_alpha_survives(fused: Fused, manifest: Manifest, base_dir: Path, tmp_path: Path, quick) -> None:
    model = fused(trainable="adapter_and_lora")
    layer = model.base.transformer.blocks[0].attn1.to_q
    layer.scaling["lafid"] = 4.0
    model.base.transformer.peft_config["lafid"].lora_alpha = 4 * model.base.transformer.peft_config["lafid"].r
    write_checkpoint(tmp_path / "c", model, manifest)
    loaded = load_checkpoint(tmp_path / "c", load_base(base_dir, "cpu")).base.transformer
    assert loaded.blocks[0].attn1.to_q.scaling["lafid"] == 4.0
    assert get_peft_model_state_dict(loaded, adapter_name="lafid").keys()


def test_loaded_for_use_it_has_no_gradients(fused: Fused, manifest: Manifest, base_dir: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", fused(trainable="all"), manifest)
    model = load_checkpoint(tmp_path / "c", load_base(base_dir, "cpu"))
    assert model.trainable() == {}
    assert not model.fusion.training
    assert not model.base.transformer.training


@pytest.mark.parametrize("part", ["adapter", "weights"])
def test_a_torn_part_is_refused_by_name(fused: Fused, manifest: Manifest, base_dir: Path, tmp_path: Path, part: str) -> None:
    write_checkpoint(tmp_path / "c", fused(trainable="all"), manifest)
    (file,) = (tmp_path / "c" / part).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"part {part} of .* is torn"):
        load_checkpoint(tmp_path / "c", load_base(base_dir, "cpu"))


def test_a_missing_part_is_refused_by_name(fused: Fused, manifest: Manifest, base: Base, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", fused(trainable="all"), manifest)
    (tmp_path / "c" / "weights" / "weights.safetensors").unlink()
    (tmp_path / "c" / "weights").rmdir()
    with pytest.raises(CheckpointError, match=r"part weights of .* is missing"):
        load_checkpoint(tmp_path / "c", base)


def test_another_base_is_refused_by_name(fused: Fused, manifest: Manifest, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", fused(), manifest)
    other = build_tiny_base(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match=f"was trained on base tiny .*, not on tiny {other.sha256[:12]}"):
        load_checkpoint(tmp_path / "c", load_base(tmp_path / "other", "cpu"))


def test_a_part_that_does_not_fit_the_base_is_named(fused: Fused, manifest: Manifest, base_dir: Path, tmp_path: Path) -> None:
    model = fused()
    model.fusion.register_to_config(blocks=5)
    write_checkpoint(tmp_path / "c", model, manifest)
    with pytest.raises(CheckpointError, match=r"part adapter of .* does not fit"):
        load_checkpoint(tmp_path / "c", load_base(base_dir, "cpu"))


def test_a_folder_without_or_with_a_foreign_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lafid\.json is missing"):
        read_manifest(tmp_path)
    (tmp_path / "lafid.json").write_text(json.dumps({"format_version": 3}))
    with pytest.raises(CheckpointError, match="is a checkpoint of format 3, this LaFID reads format 4: train it anew"):
        read_manifest(tmp_path)
    (tmp_path / "lafid.json").write_text(json.dumps({"format_version": 4}))
    with pytest.raises(CheckpointError, match="no manifest of format 4"):
        read_manifest(tmp_path)
