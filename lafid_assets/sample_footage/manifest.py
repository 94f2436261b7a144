"""What the sample footage contains and what curation should make of it: the yardstick of the end-to-end tests.

Belongs here: the record that lies beside the footage. Not here: making the footage (`build`).
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.outcomes import Reason, Status
from lafid_assets.sample_footage.portraits import PORTRAITS
from lafid_assets.sample_footage.scenes import SpeakingStatus

MANIFEST_NAME = "sample_footage.json"


class SampleClip(BaseModel):
    """One clip of the footage and its expected outcome."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_id: str
    scene: str
    path: str = Field(description="Relative to the footage's folder.")
    sha256: str | None = Field(description="Of the file; None where there is none on purpose.")
    persons: tuple[str, ...] = Field(description="Who appears, in order of appearance.")
    expected_status: Status
    expected_reason: Reason | None
    expected_speaking_status: SpeakingStatus | None = Field(description="None where not exactly one person is seen.")

    @property
    def expected_outcome(self) -> str:
        """`kept`, or status and reason such as `rejected:no_face`."""
        return "kept" if self.expected_status == Status.OK else f"{self.expected_status}:{self.expected_reason}"


class PortraitSource(BaseModel):
    """Where the faces come from, and what may be done with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sitter: str
    licence: str
    provenance: str


class SampleManifest(BaseModel):
    """Everything about one build of the footage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = Field(description="Digest of the code that made it; another recipe gives another footage.")
    table_sha256: str = Field(description="Of the CSV table.")
    portraits: tuple[PortraitSource, ...] = tuple(
        PortraitSource(sitter=p.sitter, licence=p.licence, provenance=p.provenance) for p in PORTRAITS.values()
    )
    clips: tuple[SampleClip, ...]

    @property
    def kept(self) -> tuple[SampleClip, ...]:
        """The clips that pass every step of curation."""
        return tuple(clip for clip in self.clips if clip.expected_status == Status.OK)


def recipe() -> str:
    """Digest of this package's source: it changes with every change that could change the footage."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()[:16]
