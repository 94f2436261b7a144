"""Where a folder's clips come from and what may be done with them, as the folder itself says.

Belongs here: the file `lafid_source.json`. Not here: what a licence allows (the gates of `dataset` and `release`).
"""

from typing import Literal

from pydantic import Field, ValidationError

from model.strict import StrictModel

SOURCE_FILE = "lafid_source.json"


class SourceUnusable(ValueError):
    """The folder or table cannot be ingested; the message names it and the remedy."""


class Provenance(StrictModel):
    """`lafid_source.json`: the columns `source`, `licence` and `gate` of every clip of the folder."""

    source: str = Field(min_length=1, description="Name of the dataset")
    licence: str = Field(min_length=1, description="Its licence, by SPDX identifier where there is one")
    gate: Literal["open", "gated", "unstated"] = Field(
        "unstated", description="open: anyone may fetch it; gated: its owners gave access, and only to those who asked"
    )


OPENHUMANVID = Provenance(source="OpenHumanVid", licence="CC-BY-NC-ND-4.0", gate="gated")
UNSTATED = Provenance(source="folder", licence="unstated")


def read_provenance(said: bytes | None, where: str, otherwise: Provenance) -> Provenance:
    """What a folder says of itself, or `otherwise` when it says nothing.

    Args:
        said: what its file holds; None where it has none.
        where: the folder.

    Raises:
        SourceUnusable: that cannot be understood: a licence is never guessed.
    """
    if said is None:
        return otherwise
    try:
        return Provenance.model_validate_json(said)
    except ValidationError as error:
        raise SourceUnusable(
            f'cannot understand {where}/{SOURCE_FILE}: write {{"source": "...", "licence": "..."}} into it, or remove it'
        ) from error
