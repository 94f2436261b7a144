"""Where a folder's clips come from and what may be done with them, as the folder itself says.

Belongs here: the file `lafid_source.json`. Not here: what a licence allows (the gates of `dataset` and `release`).
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SOURCE_FILE = "lafid_source.json"


class SourceUnusable(ValueError):
    """The folder or table cannot be ingested; the message names it and the remedy."""


class Provenance(BaseModel):
    """`lafid_source.json`: the columns `source`, `licence` and `gate` of every clip of the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1, description="Name of the dataset")
    licence: str = Field(min_length=1, description="Its licence, by SPDX identifier where there is one")
    gate: Literal["open", "gated", "unstated"] = Field(
        "unstated", description="open: anyone may fetch it; gated: its owners gave access, and only to those who asked"
    )


OPENHUMANVID = Provenance(source="OpenHumanVid", licence="CC-BY-NC-ND-4.0", gate="gated")
UNSTATED = Provenance(source="folder", licence="unstated")


def read_provenance(root: Path, otherwise: Provenance) -> Provenance:
    """What the folder says of itself, or `otherwise` when it says nothing.

    Raises:
        SourceUnusable: the file is there and cannot be understood: a licence is never guessed.
    """
    path = root / SOURCE_FILE
    if not path.is_file():
        return otherwise
    try:
        return Provenance.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise SourceUnusable(
            f'cannot understand {path}: write {{"source": "...", "licence": "..."}} into it, or remove it'
        ) from error
