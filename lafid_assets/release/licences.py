"""Whose terms a model stands under, part by part, and what they allow.

Belongs here: the parts of data and weights with their licences, and whether each allows the declared use. Not here: who may be
given a dataset (`dataset.export.licences`), where licences come from (`ingest.provenance`, `model.model_store.registry`).
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from lafid_assets.schemas import DATASET_VERSION_ROWS
from resources.lake.reader import Reader

UNSTATED = "unstated"
_BASES = {"Wan-AI/": "Apache-2.0"}
"""Owner on Hugging Face to the licence of what it publishes there: the model cards of Wan2.1 and Wan2.2."""
_FREE = re.compile(
    r"(MIT|Apache-2\.0|BSD-[23]-Clause|ISC|BSL-1\.0|CC0-1\.0|CC-BY-[34]\.0|CC-BY-SA-[34]\.0|CC-PDDC|PDDL-1\.0|public-domain|none)",
    re.IGNORECASE,
)
_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?commercial|research", re.IGNORECASE)


class Licensed(NamedTuple):
    """A part of the data or of the weights, and its terms."""

    part: str
    licence: str

    def __str__(self) -> str:
        return f"{self.part}: {self.licence}"


class Objection(NamedTuple):
    """A part whose terms forbid the use, or do not say."""

    licensed: Licensed
    forbidden: bool


def licensed_parts(reader: Reader, dataset_version: str, base: dict[str, Any]) -> list[Licensed]:
    """Clips by their source, what measured them, and the base, each with its licence; without what was forgotten since.

    Args:
        base: `base` of the checkpoint's manifest.
    """
    of_version = f"FROM {DATASET_VERSION_ROWS.name} WHERE dataset_version = ?"
    clips = reader.sql(f"SELECT DISTINCT source, licence {of_version} ORDER BY ALL", [dataset_version])
    engines = reader.sql(f"SELECT DISTINCT engine, engine_licence {of_version} ORDER BY ALL", [dataset_version])
    models = reader.sql(f"SELECT DISTINCT unnest(model_licences) AS said {of_version} ORDER BY ALL", [dataset_version])
    parts = [Licensed(f"clips {source}", licence) for source, licence in clips.rows()]
    faces = [Licensed(f"face engine {name}", licence) for name, licence in engines.rows()]
    named = {face.part.removeprefix("face engine "): face.licence for face in faces}
    for said in models["said"]:
        name, _, licence = said.rpartition(": ")
        if named.get(name) != licence:
            parts.append(Licensed(f"measuring model {name}", licence))
    return [*parts, *faces, Licensed(f"base {base['name']}", _base_licence(base["repository"]))]


def objections(parts: Sequence[Licensed], use: str) -> list[Objection]:
    """The parts that stand against a use; research is what all terms that we know allow."""
    if use == "research":
        return []
    against = [one for one in parts if not _FREE.fullmatch(one.licence)]
    return [Objection(one, forbidden=bool(_NON_COMMERCIAL.search(one.licence))) for one in against]


def _base_licence(repository: str | None) -> str:
    if repository is None:
        return "none"  # random numbers, made here
    return next((licence for owner, licence in _BASES.items() if repository.startswith(owner)), UNSTATED)
