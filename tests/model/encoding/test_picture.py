"""The same photo, kept in the ways that people's files have, is the same picture."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from model.encoding import picture
from model.encoding.picture import PictureUnusable, read_picture

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Smooth, and unlike itself in every turn: red grows to the right, green downwards."""
    rows, columns = np.mgrid[:96, :64]
    return Image.fromarray(np.stack([40 + 3 * columns, 30 + 2 * rows, 90 + 0 * rows], -1).astype(np.uint8))


def _saved(kept: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    kept.save(buffer, kind, **options)
    return buffer.getvalue()


def _turned(photo: Image.Image, turn: Image.Transpose, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return _saved(photo.transpose(turn), "JPEG", exif=exif, quality=95)


def _cut_out(photo: Image.Image) -> Image.Image:
    """Transparent below, where the file holds black; in the mode of the photo above."""
    kept = photo.convert("RGBA")
    kept.paste((0, 0, 0, 0), (0, 48, 64, 96))
    return kept


WAYS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda photo: _saved(photo, "PNG"),
    "jpeg": lambda photo: _saved(photo, "JPEG", quality=95),
    "webp": lambda photo: _saved(photo, "WEBP", quality=95),
    "avif": lambda photo: _saved(photo, "AVIF", quality=95),
    "heic": lambda photo: _saved(photo, "HEIF", quality=95),
    "cmyk": lambda photo: _saved(photo.convert("CMYK"), "JPEG", quality=98),
    "turned to the right": lambda photo: _turned(photo, Image.Transpose.ROTATE_90, 6),
    "upside down": lambda photo: _turned(photo, Image.Transpose.ROTATE_180, 3),
    "mirrored": lambda photo: _turned(photo, Image.Transpose.FLIP_LEFT_RIGHT, 2),
    "opaque alpha": lambda photo: _saved(photo.convert("RGBA"), "PNG"),
    "palette": lambda photo: _saved(photo.quantize(256), "GIF"),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_seen_as_viewers_show_it(way: str, photo: Image.Image) -> None:
    shown = read_picture(WAYS[way](photo))
    assert (shown.mode, shown.size) == ("RGB", photo.size)
    assert not shown.getexif()
    assert _difference(shown, photo) < 4


def test_sixteen_bits_of_grey_keep_their_steps(photo: Image.Image) -> None:
    grey = np.asarray(photo.convert("L"))
    shown = read_picture(_saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    assert np.array_equal(np.asarray(shown)[..., 0], grey)


def test_transparency_lies_on_white(photo: Image.Image) -> None:
    shown = np.asarray(read_picture(_saved(_cut_out(photo), "PNG")))
    assert (shown[48:] == 255).all()
    assert np.array_equal(shown[:48], np.asarray(photo)[:48])
    palette = np.asarray(read_picture(_saved(_cut_out(photo).convert("P"), "PNG", transparency=0)))
    assert palette.shape == shown.shape


def test_a_profile_is_followed(photo: Image.Image) -> None:
    """One whose red and green have changed places is shown so; sRGB's own changes nothing, and a torn one neither."""
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert _difference(read_picture(_saved(photo, "PNG", icc_profile=own)), photo) <= 1
    assert _difference(read_picture(_saved(photo, "PNG", icc_profile=b"torn")), photo) == 0
    swapped = own.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    red, green, blue = photo.split()
    shown = read_picture(_saved(photo, "PNG", icc_profile=swapped))
    assert _difference(shown, Image.merge("RGB", (green, red, blue))) <= 2


def test_a_large_one_is_read_small(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    transpose = picture.ImageOps.exif_transpose
    monkeypatch.setattr(picture.ImageOps, "exif_transpose", lambda opened: (decoded.append(opened.size), transpose(opened))[1])
    shown = read_picture(_saved(photo.resize((1280, 1920)), "JPEG", quality=95), longest_px=240)
    assert shown.size == (160, 240)
    assert decoded == [(320, 480)], "the whole picture was decoded first"
    assert _difference(shown, photo.resize((160, 240))) < 4


TORN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"hello",
    "half a file": lambda whole: whole[: len(whole) // 2],
    "drawing": lambda whole: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "heic without content": lambda whole: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
}


@pytest.mark.parametrize("fault", TORN)
def test_what_is_no_picture_is_named(fault: str, photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "me.jpg"
    path.write_bytes(TORN[fault](_saved(photo, "JPEG")))
    with pytest.raises(PictureUnusable, match=r"cannot read .*me\.jpg .*give a PNG, JPEG"):
        read_picture(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureUnusable, match=r"cannot read .*none\.png"):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("side", [11_000, 14_000])
def test_a_small_file_that_claims_a_wall_of_pixels_is_refused(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _saved(Image.new("1", (side, side)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(PictureUnusable, match=r"claims|exceeds limit"):
        read_picture(bomb)


def _difference(shown: Image.Image, photo: Image.Image) -> float:
    def pixels(of: Image.Image) -> NDArray[np.float64]:
        return np.asarray(of, np.float64)

    return float(np.abs(pixels(shown) - pixels(photo)).mean())
