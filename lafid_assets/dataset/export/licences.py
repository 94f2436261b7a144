"""Which licences let a clip be passed on.

Belongs here: the allow-lists, of footage and of models, and the refusal. Not here: where a clip's licence comes from
(`ingest.provenance`), where a model's does (`model.model_store.registry`), writing (`formats`).
"""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from model.model_store.registry import Licence

DEFAULT_ALLOWED = ("public-domain", "PDDL-1.0", "CC0-1.0", "CC-PDDC", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0")
"""Licences that let anyone pass on cut-out and recaptioned clips. ND licences do not: a reference crop is a derivative."""

DEFAULT_ALLOWED_MODELS = tuple(str(licence) for licence in Licence)
"""Terms of models whose scores, words and masks may be passed on: those that the registry knows.

Research terms are among them: whoever has such models accepted these terms, the default engine has them, and the manifest says
so to whoever receives the dataset. `unstated` is not.
"""


class LicenceRefused(PermissionError):
    """Rows may not leave under the licences on the allow-lists; the message names licences, rows and remedies."""


class Gate(NamedTuple):
    """What is judged of a row, and how somebody extends the list by which it is.

    Attributes:
        said: how the refusal begins, after the number of clips.
        option: of `lafid export`.
        allowed: the default list.
    """

    said: str
    option: str
    allowed: tuple[str, ...]


FOOTAGE = Gate("have a licence that is not on the allow-list", "--allow-licence", DEFAULT_ALLOWED)
MODELS = Gate(
    "were measured by models whose licence is not on the allow-list of models", "--allow-model-licence", DEFAULT_ALLOWED_MODELS
)


def split_by_licence(
    rows: pl.DataFrame, also_allowed: Iterable[str] = (), also_allowed_models: Iterable[str] = ()
) -> tuple[pl.DataFrame, dict[Gate, pl.DataFrame]]:
    """Who may be passed on, letter case aside, and who is refused at which gate.

    Args:
        rows: of `lafid_dataset`; its `licence` is judged, and the licence of each of its `model_licences`.

    Returns:
        rows that may go, and a gate to `clip_id`, `licence` and `model` (NULL of footage) of what it refuses.
    """
    footage = rows.select("clip_id", "licence", model=pl.lit(None, pl.String))
    named = rows.select("clip_id", "model_licences").explode("model_licences").drop_nulls()
    models = named.select(
        "clip_id",
        licence=pl.col("model_licences").str.extract(r": ([^:]*)$").fill_null("unstated"),
        model=pl.col("model_licences").str.replace(r": [^:]*$", ""),
    )
    refused = {
        FOOTAGE: _not_on(footage, (*FOOTAGE.allowed, *also_allowed)),
        MODELS: _not_on(models, (*MODELS.allowed, *also_allowed_models)),
    }
    return rows.join(pl.concat(refused.values()), on="clip_id", how="anti", maintain_order="left"), refused


def require_allowed(refused: dict[Gate, pl.DataFrame]) -> None:
    """Raises:
    LicenceRefused: there are rows that may not be passed on.
    """
    refusals = [_refusal(gate, rows) for gate, rows in refused.items() if rows.height]
    if refusals:
        raise LicenceRefused(f"{'. '.join(refusals)}, or leave them out with --skip-refused")


def _not_on(judged: pl.DataFrame, allowed: Iterable[str]) -> pl.DataFrame:
    names = [name.lower() for name in allowed]
    return judged.filter(~pl.col("licence").str.to_lowercase().is_in(names))


def _refusal(gate: Gate, rows: pl.DataFrame) -> str:
    named = [
        f"{licence}{f' of {model}' if model else ''} ({clips.height} clips: "
        f"{', '.join(clips['clip_id'].sort().head(3))}{', ...' if clips.height > 3 else ''})"
        for (licence, model), clips in rows.sort("licence", "model").group_by("licence", "model", maintain_order=True)
    ]
    return (
        f"{rows['clip_id'].n_unique()} clips {gate.said}: {'; '.join(named)}. Name it with {gate.option} "
        f"'{rows['licence'].sort()[0]}' if you may pass them on"
    )
