"""Networks come from the model store, whole and checked; one that is not there is absent, with the command that brings it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.evaluation.measures.networks import Networks, networks_fingerprint
from model.evaluation.measures.published_faces import FaceFinder, aligned_face
from model.evaluation.measures.record import Absent
from model.model_store.inspection import ModelUnfit
from model.model_store.install import install
from model.model_store.registry import Kind, Licence
from model.model_store.store import ModelStore, StoreDamaged
from tests.model.evaluation.measures.invented import small_clip


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    found = ModelStore(tmp_path / "models")
    found.accept(Licence.RESEARCH)
    return found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    small_clip(tmp_path / "clip")
    return tmp_path / "clip"


def test_what_is_not_in_the_store_is_absent_with_its_remedy(tmp_path: Path) -> None:
    remedies = {
        "faces": "buffalo_l (detector + embedder) is not in the model store: `lafid models fetch buffalo_l`",
        "clip": "clip_vit_b32 (measure: CLIPScore) is not in the model store: `lafid models fetch clip_vit_b32`",
        "curricular": "curricularface_ir101",
        "inception": "inception_v3",
    }
    for name, remedy in remedies.items():
        with pytest.raises(Absent, match=re.escape(remedy)):
            getattr(Networks(ModelStore(tmp_path)), name)


def test_a_clip_of_ones_own_is_added_and_loaded(store: ModelStore, clip: Path) -> None:
    before = networks_fingerprint(store)
    record = install(store, "clip_vit_b32", [clip]).record
    assert [file.name for file in record.files if file.kind is Kind.CLIP] == ["model.safetensors"]
    assert Networks(store).clip.logits("a dog", np.zeros((2, 40, 40, 3), np.uint8)).shape == (2,)
    assert networks_fingerprint(store) != before
    (store.folder("clip_vit_b32") / "model.safetensors").write_bytes(b"x")
    with pytest.raises(StoreDamaged):
        _ = Networks(store).clip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tokenizer.json", "clip_vit_b32 needs tokenizer.json"),
        ("model.safetensors", "needs model.safetensors or pytorch_model.bin: neither is among"),
        ("processor_config.json", "needs processor_config.json or preprocessor_config.json: neither is among"),
    ],
)
def test_a_clip_without_a_part_is_refused(store: ModelStore, clip: Path, name: str, message: str) -> None:
    (clip / name).unlink()
    with pytest.raises(ModelUnfit, match=message):
        install(store, "clip_vit_b32", [clip])


def test_a_torn_clip_and_another_model_are_refused(store: ModelStore, clip: Path) -> None:
    (clip / "model.safetensors").write_bytes((clip / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(ModelUnfit, match="clip/config.json does not hold a CLIP"):
        install(store, "clip_vit_b32", [clip])
    (clip / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(ModelUnfit, match="is of a siglip, not of a CLIP with both halves"):
        install(store, "clip_vit_b32", [clip])
    assert not store.present("clip_vit_b32")


def test_a_clip_that_lacks_a_tensor_is_refused(store: ModelStore, clip: Path) -> None:
    """transformers would make one up."""
    tensors = load_file(clip / "model.safetensors")
    save_file({name: of for name, of in tensors.items() if name != "text_projection.weight"}, clip / "model.safetensors")
    with pytest.raises(ModelUnfit, match="does not hold a whole CLIP: text_projection.weight lacking"):
        install(store, "clip_vit_b32", [clip])


@pytest.mark.parametrize("name", ["curricularface_ir101", "inception_v3"])
def test_other_weights_are_refused_before_they_are_kept(store: ModelStore, tmp_path: Path, name: str) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "mine.bin")
    with pytest.raises(ModelUnfit, match="mine.bin does not hold the weights of"):
        install(store, name, [tmp_path / "mine.bin"])
    assert not store.present(name)


def test_inception_is_torchvisions_without_its_last_layer(store: ModelStore, tmp_path: Path) -> None:
    """24 million random numbers, saved as torchvision's are: 2048 features a picture come of them."""
    from torchvision.models import inception_v3

    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    torch.save(whole.state_dict(), tmp_path / "inception_v3_google-0cc3c7bd.pth")
    assert install(store, "inception_v3", [tmp_path / "inception_v3_google-0cc3c7bd.pth"]).record.files[0].kind is Kind.INCEPTION
    network = Networks(store).inception
    crop = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    features = network(crop)
    assert features.shape == (1, 2048)
    shifted = (torch.from_numpy(_at_299(crop[0]) / 255) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    with torch.no_grad():
        expected = whole(shifted.permute(2, 0, 1)[None].float())
        torch.testing.assert_close(whole.fc(torch.from_numpy(features)), expected, rtol=1e-3, atol=1e-4)


def _at_299(crop: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.array(Image.fromarray(crop).resize((299, 299), Image.Resampling.BILINEAR))


def test_terms_that_were_not_accepted_are_the_reason(
    tmp_path: Path, write_network: Callable[..., Path], store: ModelStore
) -> None:
    pack = tmp_path / "pack"
    write_network(pack / "det.onnx", Kind.SCRFD)
    write_network(pack / "arc.onnx", Kind.ARCFACE)
    install(store, "buffalo_l", [pack])
    (store.root / "accepted_licences.json").unlink()
    with pytest.raises(Absent, match="lafid models accept non-commercial-research"):
        _ = Networks(store).faces


def test_real_detector_and_embedder_find_the_portrait(real_store: ModelStore) -> None:
    """SCRFD and a small ArcFace, as far as their weights are at hand, in buffalo_l's place."""
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD
    from skimage.data import astronaut

    from model.face_engine.onnx_session import open_session

    paths = [
        real_store.require(name).networks(kind)[0][0]
        for name, kind in (("scrfd_2.5g", Kind.SCRFD), ("arcface_mobilefacenet_insightface", Kind.ARCFACE))
    ]
    finder = FaceFinder(SCRFD(str(paths[0]), open_session(paths[0])), ArcFaceONNX(str(paths[1]), open_session(paths[1])))
    face = aligned_face(astronaut(), finder)
    close = aligned_face(np.ascontiguousarray(astronaut()[60:200, 160:280]), finder)
    assert face is not None
    assert close is not None
    cosine = face.arcface @ close.arcface / np.linalg.norm(face.arcface) / np.linalg.norm(close.arcface)
    assert cosine > 0.6
    assert face.crop.shape == (224, 224, 3)
