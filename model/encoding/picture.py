"""Pictures as people have them: turned by EXIF, in CMYK or 16 bits, with transparency or a wide gamut, from phones, very large.

Belongs here: a file or its bytes -> the picture as a viewer shows it, in 8-bit sRGB. Not here: frames of videos (`video_io`),
faces in pictures (`face_processor`).
"""

import io
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

pillow_heif.register_heif_opener()

LONGEST_PX = 4096
"""A larger picture is read at this size: no face gains from more, and 30 megapixels cost a gigabyte on the way to a crop."""
MOST_PIXELS = 120_000_000
"""More is no photo: phones give up to 108 megapixels, and a small file can claim any number."""
_PAPER = (255, 255, 255)
"""What lies under transparency, as most viewers have it."""
_SRGB = ImageCms.createProfile("sRGB")


class PictureUnusable(ValueError):
    """A file is no picture that can be read; the message names it and the remedy."""


def read_picture(source: Path | bytes, *, longest_px: int = LONGEST_PX) -> Image.Image:
    """The picture as a viewer shows it.

    Args:
        source: a file, or a file's bytes. Of an animation the first picture is taken.
        longest_px: of a larger picture's longer side.

    Returns:
        RGB in 8 bits and sRGB, upright, at most `longest_px` a side, without metadata.

    Raises:
        PictureUnusable: it is missing, empty, torn, of another kind, or of more than `MOST_PIXELS`.
    """
    name = str(source) if isinstance(source, Path) else "the picture"
    try:
        with warnings.catch_warnings():
            # Pillow's own bound; ours is asked before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as opened:
                return _shown(opened, name, longest_px)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError, ImageCms.PyCMSError) as error:
        raise PictureUnusable(
            f"cannot read {name} ({_short(error)}): give a PNG, JPEG, WebP, AVIF or HEIC picture with a face"
        ) from error


def _shown(opened: Image.Image, name: str, longest_px: int) -> Image.Image:
    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise PictureUnusable(
            f"{name} claims {width}x{height} pixels, more than {MOST_PIXELS // 10**6} megapixels: give a smaller picture"
        )
    opened.draft(None, (longest_px, longest_px))  # JPEG is decoded at a half, a quarter or an eighth where that is enough
    upright = ImageOps.exif_transpose(opened)
    upright.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    flat = _opaque(_eight_bits(upright))
    plain = Image.new("RGB", flat.size)
    plain.paste(_in_srgb(flat, opened.info.get("icc_profile")))
    return plain


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits comes in integers, of which Pillow's own conversion would clip all above 255."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) / 257).round().astype(np.uint8))
    return picture


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    shown = picture.convert("RGBA")
    paper = Image.new("RGBA", shown.size, (*_PAPER, 255))
    return Image.alpha_composite(paper, shown).convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB, by its own profile: phones write Display P3, print shops CMYK. One that does not fit is ignored."""
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(picture, source, _SRGB, outputMode="RGB") or picture.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            return picture.convert("RGB")
    return picture.convert("RGB")


def _short(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture"
    return str(error) or type(error).__name__
