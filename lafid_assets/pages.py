"""Pages of HTML, one file each, that ask nobody for anything: the only way in which HTML leaves LaFID.

Belongs here: a template of `templates/` -> a page with its policy. Not here: what a page shows (`dataset.report_page`,
`release.evaluation_page`).

Captions, file names, sources and names of persons are strangers' text. Whatever a template is given is escaped; and the page's
Content-Security-Policy lets nothing run, load or be sent but the style and the script that lie in `templates/`, by their hashes.
"""

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **shown: Any) -> str:
    """The page of a template; what it does not escape is its own text alone.

    Raises:
        UndefinedError: the template names something that is not shown.
    """
    return _environment().get_template(template).render(shown)


def png_address(png: bytes) -> str:
    """A PNG as a data address."""
    return _address("image/png", png)


def jpeg_address(jpeg: bytes) -> str:
    """A JPEG as a data address."""
    return _address("image/jpeg", jpeg)


def mp4_address(mp4: bytes) -> str:
    """An mp4 as a data address."""
    return _address("video/mp4", mp4)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lafid_assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["policy_hash"] = _policy_hash
    environment.filters["moment"] = _moment
    return environment


def _moment(iso: str) -> str:
    """Such as `2026-11-29 21:43 UTC`."""
    return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _policy_hash(text: str) -> str:
    """What a Content-Security-Policy calls the text of a style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
