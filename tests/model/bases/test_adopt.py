"""A published base is taken into use when it is whole, the one that the preset wants, and of the commit that was fetched."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from model.bases.adopt import adopt_base
from model.bases.base import load_base, read_base_info
from model.bases.components import BaseError
from model.bases.specs import TINY
from tests.model.released import COMMIT, RELEASED, record_download, write_snapshot

T2V = RELEASED["wan2.1-t2v-1.3b"]
TRANSFORMER, TEXT = Path("transformer/diffusion_pytorch_model"), Path("text_encoder/model")


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The snapshot of a base of that name, which tests copy."""
    root = tmp_path_factory.mktemp("snapshots")

    def written(name: str) -> Path:
        if not (root / name).is_dir():
            write_snapshot(root / name, RELEASED[name])
        return root / name

    return written


@pytest.fixture
def fetched(snapshots: Callable[[str], Path], tmp_path: Path) -> Path:
    """The components of a base's folder after `hf download` of the 1.3B."""
    return Path(shutil.copytree(snapshots(T2V.name), tmp_path / T2V.name / "components"))


def point(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def lose_a_tensor(index: Path, *, told: bool = True) -> str:
    """Takes a tensor out of its shard and, where it is told, out of the index."""
    listed = json.loads(index.read_text())
    name, shard = list(listed["weight_map"].items())[-1]
    tensors = load_file(index.parent / shard)
    del tensors[name]
    save_file(tensors, index.parent / shard, metadata={"format": "pt"})
    if told:
        del listed["weight_map"][name]
        index.write_text(json.dumps(listed))
    return str(name)


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_layout_is_adopted_and_loaded(snapshots: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    spec, folder = RELEASED[name], tmp_path / "base"
    shutil.copytree(snapshots(name), folder / "components")
    adopted = adopt_base(folder, spec)
    assert adopted.unproved == ()
    assert (adopted.info.repository, adopted.info.revision, adopted.info.boundary) == (spec.repository, COMMIT, spec.boundary)
    assert str(adopted.info) == f"{name} ({spec.repository}@{COMMIT}) {adopted.info.sha256[:12]}"
    assert json.loads((folder / "base.json").read_text())["revision_proved"] is True
    base = load_base(folder, "cpu")
    assert base.info == adopted.info == read_base_info(folder)
    assert len(base.transformers) == spec.experts
    assert base.text_encoder.encoder.embed_tokens.weight is base.text_encoder.shared.weight, "the encoder's embedding is tied"
    (folder / "components" / "README.md").write_text("no component")
    load_base(folder, "cpu")


@pytest.mark.parametrize(
    ("fault", "files"),
    [
        (Path.unlink, "transformer/diffusion_pytorch_model-00002-of-00002.safetensors"),
        (Path.unlink, "transformer/diffusion_pytorch_model.safetensors.index.json"),
        (Path.unlink, "text_encoder/config.json"),
        (Path.unlink, "vae/diffusion_pytorch_model.safetensors"),
        (Path.unlink, "tokenizer/tokenizer.json"),
        (Path.unlink, "scheduler/scheduler_config.json"),
        (Path.unlink, "model_index.json"),
        (point, "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"),
        (point, "tokenizer/tokenizer.json"),
        (shorten, "text_encoder/model-00002-of-00002.safetensors"),
        (shorten, "vae/config.json"),
        (shorten, "text_encoder/model.safetensors.index.json"),
    ],
)
def test_a_file_that_is_missing_a_pointer_or_torn_is_named_and_adopted_when_it_came(
    fetched: Path, fault: Callable[[Path], object], files: str
) -> None:
    path = fetched / files
    whole = path.read_bytes()
    fault(path)
    with pytest.raises(BaseError) as refused:
        adopt_base(fetched.parent, T2V)
    words = {Path.unlink: "lacks", point: "pointers of Git LFS", shorten: "only a part of"}
    assert f"{words[fault]} " in str(refused.value)
    assert files in str(refused.value)
    assert f"`hf download {T2V.repository} --local-dir {shlex.quote(str(fetched))}`, then run `lafid adopt {T2V.name}`" in str(
        refused.value
    )
    assert not (fetched.parent / "base.json").exists()
    path.write_bytes(whole)
    assert adopt_base(fetched.parent, T2V).unproved == ()
    load_base(fetched.parent, "cpu")


def test_the_links_of_hugging_faces_cache_are_named_with_what_takes_their_place(
    fetched: Path, snapshots: Callable[[str], Path]
) -> None:
    shutil.rmtree(fetched / "transformer")
    shutil.copytree(
        snapshots(T2V.name) / "transformer", fetched / "transformer", copy_function=lambda a, b: Path(b).symlink_to(a)
    )
    with pytest.raises(
        BaseError, match="holds links in place of transformer/config.json, .*: remove them, then fetch it with `hf"
    ):
        adopt_base(fetched.parent, T2V)


def header(told: str) -> bytes:
    """A file of safetensors that says this of itself."""
    return len(told).to_bytes(8, "little") + told.encode()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{TRANSFORMER}.safetensors.index.json", b"[]"),
        (f"{TRANSFORMER}.safetensors.index.json", b'{"weight_map": null}'),
        (f"{TRANSFORMER}.safetensors.index.json", b'{"weight_map": {"a": 3}}'),
        (f"{TRANSFORMER}.safetensors.index.json", b'{"weight_map": {"a": "../vae/x.safetensors"}}'),
        ("model_index.json", b"null"),
        ("scheduler/scheduler_config.json", b"[]"),
        ("vae/config.json", b"[1]"),
        ("vae/diffusion_pytorch_model.safetensors", b""),
        ("vae/diffusion_pytorch_model.safetensors", header("[]")),
        ("vae/diffusion_pytorch_model.safetensors", header('{"a": {"data_offsets": [0]}}')),
        ("vae/diffusion_pytorch_model.safetensors", header('{"a": {"data_offsets": ["x", "y"]}}')),
    ],
    ids=range(11),
)
def test_what_is_something_else_is_named_as_well(fetched: Path, path: str, content: bytes) -> None:
    (fetched / path).write_bytes(content)
    with pytest.raises(BaseError, match=f"holds only a part of {path}, or something else: remove them, then fetch it with `hf"):
        adopt_base(fetched.parent, T2V)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transformer": "Wan"}, "has transformer Wan, base"),
        ({"transformer": ["diffusers"]}, r"has transformer \['diffusers'\], base"),
        ({"boundary_ratio": [0.5]}, r"has boundary_ratio \[0.5\], base"),
        ({"vae": None}, "has vae None, base"),
    ],
)
def test_an_index_that_tells_something_odd_is_of_another_base(fetched: Path, changes: dict[str, object], message: str) -> None:
    rewrite(fetched / "model_index.json", **changes)
    with pytest.raises(BaseError, match=f"{message} .*: it is another base"):
        adopt_base(fetched.parent, T2V)


def test_a_clip_that_was_saved_with_its_projection_is_the_same_clip(snapshots: Callable[[str], Path], tmp_path: Path) -> None:
    """What the base reads of it lies before the projection."""
    name = "wan2.1-i2v-14b"
    components = Path(shutil.copytree(snapshots(name), tmp_path / "components"))
    weights = components / "image_encoder" / "model.safetensors"
    save_file(load_file(weights) | {"visual_projection.weight": torch.zeros(16, 32)}, weights, metadata={"format": "pt"})
    rewrite(components / "model_index.json", image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    record_download(components, COMMIT)
    assert adopt_base(tmp_path, RELEASED[name]).unproved == ()
    assert load_base(tmp_path, "cpu").image_encoder is not None


def test_a_record_that_is_none_proves_nothing_and_either_scheduler_of_flows_is_taken(fetched: Path) -> None:
    (fetched / ".cache/huggingface/download/vae/config.json.metadata").write_bytes(b"\xff\xfe")
    assert adopt_base(fetched.parent, T2V).unproved == ("vae/config.json",)
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(fetched / "scheduler")
    record_download(fetched, COMMIT)
    assert adopt_base(fetched.parent, T2V).unproved == ()
    assert isinstance(load_base(fetched.parent, "cpu").scheduler, FlowMatchEulerDiscreteScheduler)


def test_nothing_of_it_fetched_yet_is_all_named(tmp_path: Path) -> None:
    with pytest.raises(
        BaseError, match=r"lacks model_index\.json, transformer/config\.json, .* more: fetch it with `hf download"
    ):
        adopt_base(tmp_path, T2V, COMMIT)


@pytest.mark.parametrize("stem", [TRANSFORMER, TEXT], ids=str)
def test_a_tensor_that_no_file_holds_is_never_made_up(fetched: Path, stem: Path) -> None:
    adopt_base(fetched.parent, T2V)
    index = fetched / f"{stem}.safetensors.index.json"
    name = lose_a_tensor(index)
    with pytest.raises(BaseError, match=f"{stem.parent} lacks {name}: remove {fetched / stem.parent}, then fetch it with `hf"):
        adopt_base(fetched.parent, T2V)


def test_shards_that_are_not_those_of_the_index_are_refused(fetched: Path) -> None:
    name = lose_a_tensor(fetched / f"{TEXT}.safetensors.index.json", told=False)
    with pytest.raises(BaseError, match=f"model-00002-of-00002.safetensors lacks {name}: it is of another download"):
        adopt_base(fetched.parent, T2V)
    save_file({}, fetched / "text_encoder" / "model.safetensors")
    with pytest.raises(BaseError, match="holds model.safetensors beside the index of its shards"):
        adopt_base(fetched.parent, T2V)


def test_a_vae_of_other_channels_is_another_base(fetched: Path, snapshots: Callable[[str], Path]) -> None:
    shutil.copytree(snapshots("wan2.2-ti2v-5b") / "vae", fetched / "vae", dirs_exist_ok=True)
    with pytest.raises(BaseError, match=r"vae has z_dim 48, base wan2.1-t2v-1.3b has 16: it is another base"):
        adopt_base(fetched.parent, T2V)


@pytest.mark.parametrize(
    ("snapshot", "wanted", "message"),
    [
        ("wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "has boundary_ratio 0.875, base wan2.1-t2v-1.3b has None"),
        ("wan2.1-t2v-1.3b", "wan2.2-t2v-a14b", "has boundary_ratio None, base wan2.2-t2v-a14b has 0.875"),
        ("wan2.1-i2v-14b", "wan2.2-i2v-a14b", "has boundary_ratio None"),
        ("wan2.1-t2v-1.3b", "wan2.1-i2v-14b", "has _class_name WanPipeline, base wan2.1-i2v-14b has WanImageToVideoPipeline"),
        ("wan2.2-ti2v-5b", "wan2.1-t2v-1.3b", "has expand_timesteps True"),
        ("wan2.1-t2v-1.3b", "wan2.1-vace-1.3b", "has _class_name WanPipeline"),
    ],
)
def test_another_base_than_the_presets_is_refused(
    snapshots: Callable[[str], Path], tmp_path: Path, snapshot: str, wanted: str, message: str
) -> None:
    shutil.copytree(snapshots(snapshot), tmp_path / "components")
    with pytest.raises(BaseError, match=f"{message}.*: it is another base"):
        adopt_base(tmp_path, RELEASED[wanted])


def test_other_experts_and_sizes_are_another_base(fetched: Path) -> None:
    wider = T2V.model_copy(update={"transformer": T2V.transformer.model_copy(update={"ffn_dim": 64})})
    with pytest.raises(BaseError, match="transformer has ffn_dim 32, base wan2.1-t2v-1.3b has 64"):
        adopt_base(fetched.parent, wider)
    shutil.copytree(fetched / "transformer", fetched / "transformer_2")
    rewrite(fetched / "model_index.json", transformer_2=["diffusers", "WanTransformer3DModel"])
    with pytest.raises(BaseError, match="has transformer_2 WanTransformer3DModel, base wan2.1-t2v-1.3b has None"):
        adopt_base(fetched.parent, T2V)


def test_a_branch_or_another_commit_than_the_recorded_one_is_refused(fetched: Path) -> None:
    with pytest.raises(BaseError, match="'main' is no commit"):
        adopt_base(fetched.parent, T2V, "main")
    with pytest.raises(BaseError, match=f"recorded commit {COMMIT} of model_index.json, .*, not {'f' * 40}: name that commit"):
        adopt_base(fetched.parent, T2V, "f" * 40)
    with pytest.raises(BaseError, match="fetch that commit"):
        adopt_base(fetched.parent, T2V.model_copy(update={"revision": "f" * 40}), COMMIT)
    with pytest.raises(BaseError, match="has no repository"):
        adopt_base(fetched.parent, TINY)


def test_what_an_earlier_commit_left_is_named_to_be_removed(fetched: Path) -> None:
    """hf fetches what a commit has, and removes nothing that it has not."""
    name = "text_encoder/model-00003-of-00003.safetensors"
    save_file({}, fetched / name)
    record = fetched / ".cache/huggingface/download" / f"{name}.metadata"
    record.write_text(f"{'0' * 40}\n{'1' * 64}\n1\n")
    with pytest.raises(BaseError, match=f"recorded commit {'0' * 40} of {name}, not {COMMIT}: .* hf removes nothing: remove it"):
        adopt_base(fetched.parent, T2V)
    (fetched / name).unlink()
    assert adopt_base(fetched.parent, T2V).unproved == ()


def test_an_index_beside_the_one_that_is_read_is_named(fetched: Path) -> None:
    index = fetched / "text_encoder" / "model.fp16.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.fp16-00001-of-00001.safetensors"}}))
    with pytest.raises(BaseError, match=f"{index} names model.fp16-00001-of-00001.safetensors, which is not there: remove that"):
        adopt_base(fetched.parent, T2V)


@pytest.mark.parametrize(
    ("name", "path", "content"),
    [
        (T2V.name, "tokenizer/tokenizer.json", {}),
        (T2V.name, "tokenizer/tokenizer_config.json", {"tokenizer_class": "Evil"}),
        (T2V.name, "scheduler/scheduler_config.json", {"_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 10**9}),
        ("wan2.1-i2v-14b", "image_processor/preprocessor_config.json", {"size": {"shortest_edge": 10**6}}),
    ],
)
def test_what_would_not_load_is_not_adopted(
    snapshots: Callable[[str], Path], tmp_path: Path, name: str, path: str, content: dict[str, object]
) -> None:
    part = Path(shutil.copytree(snapshots(name), tmp_path / "components")) / Path(path).parent
    (tmp_path / "components" / path).write_text(json.dumps(content))
    with pytest.raises(BaseError, match=f"^{part}.*: remove {part}, then fetch it with `hf download"):
        adopt_base(tmp_path, RELEASED[name])


def test_the_shift_of_its_scheduler_is_told(fetched: Path) -> None:
    assert adopt_base(fetched.parent, T2V).flow_shift == 3.0
    FlowMatchEulerDiscreteScheduler(shift=5.0).save_pretrained(fetched / "scheduler")
    record_download(fetched, COMMIT)
    assert adopt_base(fetched.parent, T2V).flow_shift == 5.0


def test_a_stray_file_in_an_adopted_base_is_named(fetched: Path) -> None:
    adopt_base(fetched.parent, T2V)
    (fetched / "vae" / ".DS_Store").write_bytes(b"a view")
    with pytest.raises(BaseError, match="changed: .*, and vae/.DS_Store is newer than that record; restore it, remove what does"):
        load_base(fetched.parent, "cpu")


def test_a_file_that_was_changed_since_its_download_is_refused(fetched: Path) -> None:
    for path in ("vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
        whole = (fetched / path).read_bytes()
        (fetched / path).write_bytes(whole.replace(b"0", b"1") if path.endswith("json") else whole[:-1] + b"\7")
        with pytest.raises(BaseError, match=f"{path} is not the file that was downloaded: remove it"):
            adopt_base(fetched.parent, T2V)
        (fetched / path).write_bytes(whole)


def test_a_commit_that_nothing_proves_is_adopted_as_unproved(fetched: Path) -> None:
    shutil.rmtree(fetched / ".cache")
    with pytest.raises(BaseError, match=f"no record of its commit: name it, `lafid adopt {T2V.name} COMMIT`"):
        adopt_base(fetched.parent, T2V)
    unproved = adopt_base(fetched.parent, T2V, COMMIT)
    assert "vae/config.json" in unproved.unproved
    assert json.loads((fetched.parent / "base.json").read_text())["revision_proved"] is False
    record_download(fetched, COMMIT)
    proved = adopt_base(fetched.parent, T2V)
    assert proved.unproved == ()
    assert proved.info == unproved.info, "the same base, so that what was trained on it still fits"


def test_a_base_of_a_class_that_is_none_is_refused(fetched: Path) -> None:
    rewrite(fetched / "vae" / "config.json", _class_name="Evil")
    with pytest.raises(BaseError, match="vae is of class Evil"):
        adopt_base(fetched.parent, T2V)
