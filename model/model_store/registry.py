"""The models that LaFID can use and does not ship: one typed entry each, with source, terms and what the network expects.

Belongs here: facts. Not here: getting files (`fetch`), keeping them (`store`), telling one network from another (`inspection`).

A sha256 stands here only where somebody here has computed it over the file; the others are recorded when the file first arrives
(trust on first use) and held to from then on.
"""

from enum import StrEnum

from pydantic import Field

from model.strict import StrictModel


class Licence(StrEnum):
    """Terms of weights; the later, the stricter."""

    MIT = "MIT"
    BSD_3 = "BSD-3-Clause"
    APACHE_2 = "Apache-2.0"
    RESEARCH = "non-commercial-research"

    @property
    def needs_acceptance(self) -> bool:
        """Whether someone must accept the terms before the weights are used."""
        return self is Licence.RESEARCH


TERMS = {
    Licence.MIT: "Free use; keep the copyright notice.",
    Licence.BSD_3: "Free use; keep the copyright notice, and do not advertise with the authors' names.",
    Licence.APACHE_2: "Free use; keep the notices and state changes.",
    Licence.RESEARCH: "Research without commercial purpose only: neither the weights nor what comes of them may serve a product.",
}


def strictest(*licences: Licence) -> Licence:
    """The licence that binds whatever several models made together."""
    return max(licences, key=list(Licence).index)


class Kind(StrEnum):
    """What a network is; decides how it is checked and run."""

    PACK = "pack"
    SCRFD = "scrfd"
    ARCFACE = "arcface"
    SIXDREPNET = "6drepnet"
    FSANET = "fsanet"
    FACE_MESH = "face_mesh"
    LANDMARKS_106 = "2d106"
    MATTING = "matting"
    WHISPER = "whisper"
    VISION = "vision"
    CURRICULARFACE = "curricularface"
    INCEPTION = "inception"
    CLIP = "clip"


VISION_TYPES = frozenset({"clip", "clip_vision_model", "siglip", "siglip_vision_model", "siglip2_vision_model", "dinov2"})
"""`model_type` in the config of a vision encoder's folder; a whole CLIP or SigLIP names its vision half otherwise than that half
alone."""

TASKS = {
    Kind.PACK: "detector + embedder",
    Kind.SCRFD: "detector",
    Kind.ARCFACE: "embedder",
    Kind.SIXDREPNET: "head pose",
    Kind.FSANET: "head pose",
    Kind.FACE_MESH: "mouth",
    Kind.LANDMARKS_106: "mouth",
    Kind.MATTING: "head mask",
    Kind.WHISPER: "transcript",
    Kind.VISION: "semantic encoder",
    Kind.CURRICULARFACE: "measure: FaceSim-Cur",
    Kind.INCEPTION: "measure: FID",
    Kind.CLIP: "measure: CLIPScore",
}


class ModelFile(StrictModel):
    """One file as its publisher names it."""

    name: str = Field(description="File name in the store")
    url: str | None = Field(None, description="Where it is fetched from; None: no public address, `lafid models add` only")
    sha256: str | None = Field(None, description="Hex digest; None where nobody here could compute it")
    size_bytes: int | None = Field(None, ge=1, description="Size; None where unknown")


class ModelEntry(StrictModel):
    """One model: a name under which config asks for it, and everything known about it."""

    name: str = Field(description="Name in config and on the command line")
    kind: Kind = Field(description="What the network is")
    files: tuple[ModelFile, ...] = Field(min_length=1, description="Its files; of a pack, the archive")
    licence: Licence = Field(description="Terms of the weights")
    source: str = Field(description="Who made the weights, and what they were trained on")
    input: str = Field(description="What the network takes and gives")
    inference: str | None = Field(None, description="What is assumed about it and not yet measured")

    @property
    def task(self) -> str:
        """What it is for."""
        return TASKS[self.kind]

    @property
    def fetchable(self) -> bool:
        """Whether all of its files have a public address."""
        return all(file.url for file in self.files)


_INSIGHTFACE = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_FSANET = "https://raw.githubusercontent.com/omasaht/headpose-fsanet-pytorch/002549c981b607f722e0810d999afcde7e5aaa66/pretrained"
_PACK_INPUT = "SCRFD at any multiple of 32 px, ArcFace at 112 px; landmark and attribute networks in it are not run"


def _pack(name: str, networks: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        kind=Kind.PACK,
        files=(ModelFile(name=f"{name}.zip", url=f"{_INSIGHTFACE}/{name}.zip"),),
        licence=Licence.RESEARCH,
        source=f"InsightFace model zoo, release v0.7 ({networks})",
        input=_PACK_INPUT,
    )


def _whisper(size: str, vocabulary: str = "vocabulary.txt") -> ModelEntry:
    address = f"https://huggingface.co/Systran/faster-whisper-{size}/resolve/main"
    return ModelEntry(
        name=f"whisper_{size.replace('-', '_')}",
        kind=Kind.WHISPER,
        files=tuple(
            ModelFile(name=name, url=f"{address}/{name}") for name in ("config.json", "model.bin", "tokenizer.json", vocabulary)
        ),
        licence=Licence.MIT,
        source=f"OpenAI Whisper {size} (Radford et al. 2022), converted to CTranslate2 by Systran",
        input="16 kHz mono sound to words with times; 99 languages",
    )


def _vision(name: str, repository: str, licence: Licence, source: str, output: str) -> ModelEntry:
    address = f"https://huggingface.co/{repository}/resolve/main"
    return ModelEntry(
        name=name,
        kind=Kind.VISION,
        files=tuple(
            ModelFile(name=name, url=f"{address}/{name}")
            for name in ("config.json", "model.safetensors", "preprocessor_config.json")
        ),
        licence=licence,
        source=source,
        input=f"a crop of head and shoulders to {output}",
    )


REGISTRY: tuple[ModelEntry, ...] = (
    _pack("buffalo_l", "SCRFD-10GF, ResNet50 on WebFace600K, 2d106det"),
    _pack("antelopev2", "SCRFD-10GF, ResNet100 on Glint360K, 2d106det"),
    _pack("buffalo_s", "SCRFD-500MF, MobileFaceNet on WebFace600K, 2d106det"),
    ModelEntry(
        name="scrfd_2.5g",
        kind=Kind.SCRFD,
        files=(
            ModelFile(
                name="scrfd_2.5g_bnkps.onnx",
                url="https://raw.githubusercontent.com/darzhz/pixamatch/7cc795413024ba57a193a8fa503968af09442a17/models/scrfd_2.5g_bnkps.onnx",
                sha256="bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce",
                size_bytes=3_290_207,
            ),
        ),
        licence=Licence.RESEARCH,
        source="InsightFace SCRFD-2.5GF with five points, trained on WIDER FACE (Guo et al. 2021)",
        input="1 x 3 x H x W, any multiple of 32",
    ),
    ModelEntry(
        name="scrfd_500m",
        kind=Kind.SCRFD,
        files=(
            ModelFile(
                name="scrfd_500m_kps.onnx",
                url="https://raw.githubusercontent.com/hpc203/scrfd-opencv/eee7bf1ee0dbe9615d8d8caaa53702e0d2dca001/weights/scrfd_500m_kps.onnx",
                sha256="517cb1980c72422e676738fc45431700fb7cbee56d0f825b623ee427b3e5ce58",
                size_bytes=2_524_095,
            ),
        ),
        licence=Licence.RESEARCH,
        source="InsightFace SCRFD-500MF with five points, trained on WIDER FACE (Guo et al. 2021)",
        input="1 x 3 x 640 x 640, fixed",
    ),
    ModelEntry(
        name="arcface_mobilefacenet_foamliu",
        kind=Kind.ARCFACE,
        files=(
            ModelFile(
                name="arcface_mobilefacenet_foamliu.onnx",
                sha256="5f4584570b2b2bf5bcf906c1efe897204369cb24a302cfdc3abbe37ebe87ad61",
                size_bytes=3_998_234,
            ),
        ),
        licence=Licence.RESEARCH,
        source="foamliu/MobileFaceNet (Apache-2.0), with its normalisation inside the graph; trained on MS-Celeb-1M, which was "
        "withdrawn: research only",
        input="1 x 3 x 112 x 112 to 128",
    ),
    ModelEntry(
        name="arcface_mobilefacenet_insightface",
        kind=Kind.ARCFACE,
        files=(
            ModelFile(
                name="arcface_mobilefacenet_insightface_from_mxnet.onnx",
                sha256="48dd68b8b1ead4b101784dce3822ba411ca712169a33bd89377ffb9ff5aafa74",
                size_bytes=4_135_992,
            ),
        ),
        licence=Licence.RESEARCH,
        source="InsightFace MobileFaceNet, converted from MXNet (liguiyuan/mobilefacenet-ncnn)",
        input="1 x 3 x 112 x 112 to 128",
    ),
    ModelEntry(
        name="6drepnet",
        kind=Kind.SIXDREPNET,
        files=(
            ModelFile(
                name="6DRepNet_300W_LP_AFLW2000.pth",
                url="https://cloud.ovgu.de/s/Q67RnLDy6JKLRWm/download/6DRepNet_300W_LP_AFLW2000.pth",
            ),
        ),
        licence=Licence.MIT,
        source="thohemp/6DRepNet (Hempel et al. 2022), RepVGG-B1g2 trained on 300W-LP; the address is the one its package names",
        input="N x 3 x 224 x 224 to N x 3 x 3; exported to ONNX here when it is added",
        inference="signs assumed: the network learns 300W-LP's labels as FSA-Net does, so its matrix is stored as it is; "
        "`lafid models check 6drepnet fsanet DIR` measures whether that holds for these weights",
    ),
    ModelEntry(
        name="fsanet",
        kind=Kind.FSANET,
        files=(
            ModelFile(
                name="fsanet-1x1-iter-688590.onnx",
                url=f"{_FSANET}/fsanet-1x1-iter-688590.onnx",
                sha256="d85e90cb4b9d3a87e81bbfdcfcd130cbe0e175407042e439a570aa396c44eda6",
                size_bytes=1_247_488,
            ),
            ModelFile(
                name="fsanet-var-iter-688590.onnx",
                url=f"{_FSANET}/fsanet-var-iter-688590.onnx",
                sha256="2877b1db98e3dc66468e90df8db4a21059facd1c3f107af91c6d4fe6476a03e1",
                size_bytes=1_246_963,
            ),
        ),
        licence=Licence.MIT,
        source="omasaht/headpose-fsanet-pytorch (FSA-Net, Yang et al. 2019), trained on 300W-LP",
        input="1 x 3 x 64 x 64 to yaw, pitch, roll; the mean of both networks counts",
    ),
    ModelEntry(
        name="face_mesh",
        kind=Kind.FACE_MESH,
        files=(
            ModelFile(
                name="FaceMesh.onnx",
                url="https://raw.githubusercontent.com/iperov/DeepFaceLive/fc7b787bda2b8c186e142c52857458eea3a935ed/modelhub/onnx/FaceMesh/FaceMesh.onnx",
                sha256="d543107cfab6a216501b37667ef1520950410dfe02d4c186e6b154fc91345ee1",
                size_bytes=2_332_284,
            ),
        ),
        licence=Licence.APACHE_2,
        source="Google MediaPipe Face Mesh (Apache-2.0), as ONNX by iperov/DeepFaceLive, whose own code is GPL-3.0",
        input="1 x 192 x 192 x 3 RGB in 0..1 to 468 points",
    ),
    ModelEntry(
        name="2d106",
        kind=Kind.LANDMARKS_106,
        files=(ModelFile(name="2d106det.onnx"),),
        licence=Licence.RESEARCH,
        source="InsightFace coordinate regression, 106 points; part of the packs, from which it is taken where one is present",
        input="N x 3 x 192 x 192 to 106 points",
    ),
    ModelEntry(
        name="modnet",
        kind=Kind.MATTING,
        files=(
            ModelFile(
                name="modnet_photographic_portrait_matting.onnx",
                url="https://huggingface.co/Xenova/modnet/resolve/fa2fa546052fba4c08921230a26cc69a333fca12/onnx/model.onnx",
                size_bytes=25_888_640,
            ),
        ),
        licence=Licence.APACHE_2,
        source="ZHKKKe/MODNet, portrait matting (Ke et al. 2020), as ONNX by Xenova",
        input="N x 3 x H x W RGB in -1..1, any multiple of 32 (512 is used), to N x 1 x H x W opacity in 0..1",
        inference="not run here with the published weights, which have not been at hand",
    ),
    _whisper("tiny"),
    _whisper("base"),
    _whisper("small"),
    _whisper("medium"),
    _whisper("large-v3", "vocabulary.json"),
    _vision(
        "clip_vit_h14",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        Licence.MIT,
        "LAION CLIP ViT-H/14 trained on LAION-2B, of the size of Wan2.1's own image branch",
        "257 x 1280",
    ),
    _vision(
        "siglip_so400m",
        "google/siglip-so400m-patch14-384",
        Licence.APACHE_2,
        "Google SigLIP so400m/14 at 384 px (Zhai et al. 2023)",
        "729 x 1152",
    ),
    _vision("dinov2_large", "facebook/dinov2-large", Licence.APACHE_2, "Meta DINOv2 ViT-L/14 (Oquab et al. 2023)", "257 x 1024"),
    ModelEntry(
        name="curricularface_ir101",
        kind=Kind.CURRICULARFACE,
        files=(
            ModelFile(
                name="glint360k_curricular_face_r101_backbone.bin",
                url="https://huggingface.co/BestWishYsh/ConsisID-preview/resolve/main/face_encoder/"
                "glint360k_curricular_face_r101_backbone.bin",
            ),
        ),
        licence=Licence.RESEARCH,
        source="CurricularFace (Huang et al. 2020) IR-101 trained on Glint360K, whose terms are research only, as ConsisID's and "
        "OpenS2V-Eval's code takes it",
        input="N x 3 x 112 x 112 in -1..1 to N x 512",
        inference="not run here with the published weights, which have not been at hand; ConsisID's code names the address",
    ),
    ModelEntry(
        name="inception_v3",
        kind=Kind.INCEPTION,
        files=(
            ModelFile(
                name="inception_v3_google-0cc3c7bd.pth",
                url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
            ),
        ),
        licence=Licence.BSD_3,
        source="torchvision's Inception-v3 (Szegedy et al. 2015), ported from TensorFlow, trained on ImageNet, whose terms are "
        "research only for its pictures; the weights come with torchvision's BSD licence",
        input="N x 3 x 299 x 299 to N x 2048",
        inference="not run here with the published weights, which have not been at hand",
    ),
    ModelEntry(
        name="clip_vit_b32",
        kind=Kind.CLIP,
        files=tuple(
            ModelFile(name=name, url=f"https://huggingface.co/openai/clip-vit-base-patch32/resolve/main/{name}")
            for name in (
                "config.json",
                "pytorch_model.bin",
                "preprocessor_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "vocab.json",
                "merges.txt",
            )
        ),
        licence=Licence.MIT,
        source="OpenAI CLIP ViT-B/32 (Radford et al. 2021), both halves",
        input="a prompt and frames to a cosine of each pair",
        inference="not run here with the published weights, which have not been at hand",
    ),
)


class ModelUnknown(ValueError):
    """The registry has no model of that name; the message lists those that there are."""


def find_entry(name: str) -> ModelEntry:
    """The registry's entry.

    Raises:
        ModelUnknown: there is none of that name.
    """
    for entry in REGISTRY:
        if entry.name == name:
            return entry
    raise ModelUnknown(f"there is no model {name!r}: choose one of {', '.join(entry.name for entry in REGISTRY)}")
