"""A trained model as one object: a prompt and a picture of a person in, frames out, drawn by diffusers' own pipelines.

Belongs here: one generation, and loading a checkpoint onto its base. Not here: training, files of video (`encoding.video_io`),
the registry (`package`), what each pass of guidance sees (`face_branch.guidance`).
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import load_base, pick_device
from model.bases.sizes import check_size, other_side, size_for_image
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.bases.stock_pipelines import frames_to_ask, reporting, stock_pipeline, with_flow_shift, without_rounding_warning
from model.encoding.encoders import ClipEncoders
from model.encoding.face_features import FaceFeatures
from model.encoding.face_processor import FaceChoice, PoseUnknown, ReferenceFace, process_face
from model.encoding.head_mask import mask_of
from model.encoding.video_io import cut_window, fit_frames
from model.encoding.views import view_latents
from model.face_branch.guidance import FaceGuidance
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel
from model.face_engine.interface import FaceEngine
from model.face_engine.view_spread import others_first
from model.model_store.location import models_folder
from model.model_store.store import ModelStore
from model.model_store.vision import vision_folder
from model.release.checkpoint import CheckpointError, Manifest, load_checkpoint, read_manifest
from model.release.drawing_settings import AS_TRAINED, DrawingSettings

_STEPS = 20
_GUIDANCE = 3.0
MOST_SEED = 2**63 - 1
"""The largest that torch's generators take."""
_SEEN_LOSS, _TOLD_LOSS = 1e-6, 0.04
"""Shares of a picture that a cut takes: more is a cut at all; more than a size of about its own aspect takes, whose sides are
multiples of 16 pixels."""
_log = logging.getLogger(__name__)


class InputError(ValueError):
    """The model cannot draw from what was given; the message names the remedy."""


class DrawingOutOfMemory(RuntimeError):
    """The card is too small; the message says what saves memory."""


@contextmanager
def naming_what_saves_memory(drawing: DrawingSettings, manifest: Manifest) -> Iterator[None]:
    """Around whatever computes with a model that draws so.

    Raises:
        DrawingOutOfMemory: in place of torch's own error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        needed, remedies = ". ".join(str(error).split(". ")[:2]), ", ".join(drawing.what_to_change(manifest.preset.train))
        message = f"out of memory in drawing with {manifest.preset.name} ({needed}). To save memory: {remedies}"
        raise DrawingOutOfMemory(message) from error


class LafidPipeline:
    """Video with a face: from a first frame, or from photos alone. One generation at a time.

    Args:
        engine: the face engine that the checkpoint was trained with.
        drawing: how it computes; the precision is that of `model`, and its device unless `drawing` names one.

    Raises:
        MaskUnusable: the model store lacks the network that cut the heads out when the checkpoint was trained.
    """

    def __init__(self, model: FusedModel, manifest: Manifest, engine: FaceEngine, drawing: DrawingSettings = AS_TRAINED) -> None:
        self.model = model
        self.manifest = manifest
        self.engine = engine
        self.head_mask = mask_of(manifest.head_mask)
        self.encoders = ClipEncoders(model.base, manifest.preset.encoders, drawing.semantic_dir)
        self._device = torch.device(drawing.device or model.device)
        self._drawing = drawing
        if drawing.low_memory and isinstance(model.base.codec, AutoencoderKLWan):
            model.base.codec.enable_tiling()

    @property
    def fps(self) -> float:
        """The rate that the model was trained at."""
        return self.manifest.preset.clip.fps

    def generate(
        self,
        image: Image.Image | None,
        prompt: str,
        *,
        photos: Sequence[Image.Image] = (),
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        steps: int = _STEPS,
        guidance: float = _GUIDANCE,
        face_guidance: float = 1.0,
        seed: int = 0,
        choose: FaceChoice | None = "only",
        on_step: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Draws a video of a person. The same arguments give the same frames.

        Args:
            image: the first frame; None draws it too.
            photos: of the person. The first one's crop conditions the video (a VACE base is given it as its reference picture
                too); of a model with reference views the next ones are these, as many as it was trained with; identity is the
                mean of all. Without photos the face is that of `image`.
            negative_prompt: what shall not be seen; it counts where `guidance` is above 1.
            height, width: pixels; of one alone the other follows in the aspect of `image`, or the trained one without it; of
                neither the trained area in that aspect. The first frame is cut to their aspect around its face, as training cuts
                clips, and scaled to them; never squeezed.
            guidance: how strongly the text counts; 1 switches it off and halves the time.
            face_guidance: how strongly the face and its views count; 1 is as trained, anything else costs a third pass a step.
            choose: which face, in every picture; None draws without the face branch.
            on_step: hears how many steps are done, and of how many.

        Returns:
            (T, height, width, 3) uint8 RGB.

        Raises:
            SizeError: a size the base cannot draw.
            FaceError: a picture does not hold the face that was asked for.
            InputError: neither a first frame nor a photo, a base that cannot draw from what was given, or a setting that is none.
            DrawingOutOfMemory: the card is too small.
        """
        self._check_inputs(image, photos, choose)
        if not (math.isfinite(guidance) and math.isfinite(face_guidance)):
            raise InputError(f"guidance {guidance} and face guidance {face_guidance}: give numbers")
        if steps < 1 or not 0 <= seed <= MOST_SEED:
            raise InputError(f"{steps} steps with seed {seed}: give at least one step, and a seed from 0 to {MOST_SEED}")
        picture = None if image is None else image.convert("RGB")
        height, width, frames = self._size(picture, height, width, num_frames)
        for text in (prompt, negative_prompt or ""):
            if cut := self.encoders.unread(text):
                _log.warning("the prompt is longer than the text encoder takes; it does not see its end: %r", cut)
        pictured = [*photos] or [one for one in (picture,) if one is not None]
        with naming_what_saves_memory(self._drawing, self.manifest):
            faces = [] if choose is None else [self.face(photo, choose) for photo in pictured]
            shift = self.manifest.preset.base.flow_shift(height, width)
            pipeline = stock_pipeline(
                with_flow_shift(self.model.base, shift),
                self.denoisers(faces, face_guidance),
                first_frame=picture is not None,
                offload_to=self._device if self._drawing.low_memory else None,
            )
            given: dict[str, object] = {}
            if picture is not None:
                given["image"] = self._fitted(picture, height, width, faces[0] if faces and not photos else None, choose)
            if faces and self.model.base.info.layout == "vace":
                given["reference_images"] = [Image.fromarray(faces[0].crop)]
            with without_rounding_warning():
                video = pipeline(
                    **given,
                    prompt=prompt,
                    negative_prompt=negative_prompt,
                    height=height,
                    width=width,
                    num_frames=frames_to_ask(self.model.base, frames),
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    generator=torch.Generator().manual_seed(seed),
                    output_type="np",
                    callback_on_step_end=reporting(on_step, steps),
                ).frames[0]
        return (video * 255).round().astype(np.uint8)

    @contextmanager
    def in_place(self) -> Iterator[FusedModel]:
        """The model with its transformers where they compute, all at once, for whoever calls it without drawing."""
        transformers = self.model.base.transformers
        waited_on = [transformer.device for transformer in transformers]
        for transformer in transformers:
            transformer.to(self._device)
        try:
            with naming_what_saves_memory(self._drawing, self.manifest):
                yield self.model
        finally:
            for transformer, device in zip(transformers, waited_on, strict=True):
                transformer.to(device)

    def face(self, photo: Image.Image, choose: FaceChoice = "only") -> ReferenceFace:
        """The face of a photo, as generation sees it.

        Raises:
            FaceError: the photo does not hold the face that was asked for, or its pose cannot be told and the model needs it.
        """
        face = process_face(np.asarray(photo.convert("RGB")), self.engine, self.head_mask, choose)
        if self.manifest.preset.fusion.aligner is not None and face.angles is None:
            raise PoseUnknown(
                f"{self.engine.info.name} cannot tell the face's pose, which this model needs: give a more frontal photo"
            )
        return face

    @torch.no_grad()
    def features(self, faces: Sequence[ReferenceFace]) -> FaceFeatures:
        """What the experts read of one person's faces, at least one, batch size 1."""
        embedding = np.mean([face.embedding for face in faces], axis=0)
        angles = None if faces[0].angles is None else np.array(faces[0].angles, np.float32)
        return self.encoders.face(faces[0].crop, embedding, angles)

    def _fitted(
        self, picture: Image.Image, height: int, width: int, face: ReferenceFace | None, choose: FaceChoice | None
    ) -> Image.Image:
        """The picture as the first frame: what is seen of it lies around its face, where it has one that counts."""
        image, centre = np.asarray(picture), None
        whole = cut_window(picture.height, picture.width, height, width)
        lost = 1 - whole.width * whole.height / (picture.width * picture.height)
        if lost > _SEEN_LOSS and choose is not None:
            known = None if face is None else face.box_xyxy_px
            box = known or next((found.box_xyxy_px for found in self.engine.detect(image, embed=False)), None)
            centre = None if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        if lost > _TOLD_LOSS:
            _log.warning(
                "the picture of %d x %d (width x height) is cut to the aspect of %d x %d around its %s: %.0f %% of it is lost",
                *(picture.width, picture.height, width, height),
                "middle" if centre is None else "face",
                100 * lost,
            )
        return Image.fromarray(fit_frames(image[None], height, width, centre)[0])

    @torch.no_grad()
    def denoisers(self, faces: Sequence[ReferenceFace], face_guidance: float) -> list[torch.nn.Module]:
        """What takes the place of each of the base's transformers in a stock pipeline, to draw this person."""
        if not faces:
            return list(self.model.base.transformers)
        features = self.features(faces).to(self._device)
        dtype = self.model.fusion.dtype
        wanted, references = self.manifest.preset.fusion.references, None
        if wanted is not None:
            # As many as training showed: attention was not trained with more of them, nor with fewer.
            shown = others_first(range(len(faces)), 0, wanted.views)
            crops, side_px = [faces[view].crop for view in shown], self.manifest.preset.clip.view_side
            references = References(view_latents(self.encoders, crops, side_px)[None]).to(self._device)
        return [
            FaceGuidance(
                transformer,
                fusion(features.in_precision(dtype)),
                fusion.null(),
                face_guidance,
                references,
                face_guidance,
                wanted.masked_share if wanted is not None else 0.0,
            )
            for transformer, fusion in self.model.attached
        ]

    def _check_inputs(self, image: Image.Image | None, photos: Sequence[Image.Image], choose: FaceChoice | None) -> None:
        layout, name = self.model.base.info.layout, self.model.base.info.name
        if image is None and not photos and choose is not None:
            raise InputError("there is nobody to draw: give a first frame or a photo")
        if image is not None and layout not in FIRST_FRAME_LAYOUTS:
            raise InputError(f"base {name} cannot be given a first frame: give the picture as a photo")
        if image is None and layout == "i2v":
            raise InputError(f"base {name} begins with a picture: give a first frame")

    def _size(
        self, picture: Image.Image | None, height: int | None, width: int | None, num_frames: int | None
    ) -> tuple[int, int, int]:
        base, clip = self.model.base, self.manifest.preset.clip
        frames = num_frames or clip.frames
        area, multiple = clip.height * clip.width, base.size_multiple_px
        shape = (clip.height, clip.width) if picture is None else (picture.height, picture.width)
        if height is None and width is None:
            height, width = size_for_image(*shape, area, multiple)
        elif width is None:
            assert height is not None
            width = other_side(height, *shape, multiple)
        elif height is None:
            height = other_side(width, shape[1], shape[0], multiple)
        check_size(
            height,
            width,
            frames,
            multiple_px=base.size_multiple_px,
            temporal_factor=base.codec.config.scale_factor_temporal,
            positions=base.transformer.config.rope_max_seq_len,
        )
        return height, width, frames


def load(
    checkpoint_dir: Path, base_dir: Path, drawing: DrawingSettings = AS_TRAINED, face_engine: FaceEngine | None = None
) -> LafidPipeline:
    """A checkpoint on its base, ready to draw.

    Args:
        drawing: how it computes. In bfloat16 what must stay in float32 does. Without a `semantic_dir` the vision encoder is the
            one that the model store holds, where the checkpoint's preset has `encoders.semantic` "folder".
        face_engine: unless given, the one whose embeddings the checkpoint was trained on.

    Raises:
        CheckpointError: a part or the base does not fit, or an encoder gives other features than trained on.
        EncoderError: the vision encoder cannot be loaded.
        MaskUnusable: the model store lacks the network that cut the heads out when it was trained.
        DrawingOutOfMemory: the card is too small for the model.
    """
    manifest = read_manifest(checkpoint_dir)
    engine = face_engine or engine_named(manifest.face_engine.name)
    trained_on = manifest.face_engine
    if (engine.info.name, engine.info.embedding_dim) != (trained_on.name, trained_on.width):
        raise CheckpointError(
            f"{checkpoint_dir} was trained on {trained_on.name}'s identity embeddings ({trained_on.width} wide), "
            f"{engine.info.name} gives others ({engine.info.embedding_dim} wide): use {trained_on.name}"
        )
    mask_of(manifest.head_mask)  # what cannot be cut out as in training is refused before gigabytes are read
    if drawing.semantic_dir is None and manifest.preset.encoders.semantic == "folder":
        drawing = drawing.model_copy(update={"semantic_dir": vision_folder(ModelStore(models_folder()))})
    target = pick_device(drawing.device)
    drawing = drawing.model_copy(update={"device": str(target)})
    dtype = torch.bfloat16 if drawing.precision_after(manifest.preset.train) == "bfloat16" else None
    with naming_what_saves_memory(drawing, manifest):
        model = load_checkpoint(checkpoint_dir, load_base(base_dir, "cpu" if drawing.low_memory else target, dtype))
        for transformer, fusion in model.attached:
            # The adapter is read inside the blocks: where they compute, and as finely. It has no modules that must stay in
            # float32, of which diffusers' own `to` would warn.
            torch.nn.Module.to(fusion, target, transformer.dtype)
        pipeline = LafidPipeline(model, manifest, engine, drawing)
    if pipeline.encoders.fingerprint != manifest.encoders_fingerprint:
        raise CheckpointError(
            f"{checkpoint_dir} was trained on features of encoders {manifest.encoders_fingerprint[:12]}, these are "
            f"{pipeline.encoders.fingerprint[:12]}: give the vision encoder and the version of LaFID that it was trained with"
        )
    return pipeline


def engine_named(name: str) -> FaceEngine:
    """The face engine that a checkpoint's manifest or a cached clip names.

    Raises:
        CheckpointError: it is none of ours.
    """
    family, _, embedder = name.partition("/")
    if family == "insightface":
        # Needs onnxruntime and OpenCV, which the base install lacks: only where such embeddings were trained on.
        from model.face_engine.insightface_engine import InsightfaceEngine
        from model.face_engine.selection import choose_parts

        return InsightfaceEngine(choose_parts(ModelStore(models_folder()), embedder=embedder))
    if name != "dlib":
        raise CheckpointError(f"no face engine here is named {name!r}: pass the one that the checkpoint was trained with")
    # Loads dlib's 120 MB of weights: only where faces are really looked for.
    from model.face_engine.dlib_engine import DlibEngine

    return DlibEngine()
