"""`lafid lineage`: from a registered model back to its clips, or from a clip to the models. Needs no Dagster.

Belongs here: showing it. Not here: finding it (`release.model_lineage`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from lafid_assets.cli.display import CONSOLE
from lafid_assets.lake import open_lake
from lafid_assets.release.lineage import funnel_in_words
from lafid_assets.release.model_lineage import lineage_of_clip, lineage_of_model
from resources.settings import Settings
from resources.tracking import Tracking

MOST_CLIPS = 20


def read_lineage(settings: Settings, model: str | None, clip: str | None) -> dict[str, Any]:
    """The lineage of a model or of a clip as one object."""
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    with closing(open_lake(settings, read_only=True)) as lake:
        if model is not None and clip is None:
            return lineage_of_model(lake, tracking, model)
        if clip is not None and model is None:
            return lineage_of_clip(lake, tracking, clip)
    raise ValueError("name a model, such as models:/lafid@champion, or a clip with --clip")


def show_lineage(found: Mapping[str, Any]) -> None:
    """Show the lineage to a person; of many clips the first."""
    if "clip_id" in found:
        _show_clip(found)
    else:
        _show_model(found)


def _show_model(found: Mapping[str, Any]) -> None:
    base, dataset = found["base"], found["dataset"]
    aliases = f" ({', '.join(found['aliases'])})" if found["aliases"] else ""
    _say("model", f"{found['model']}{aliases}, {found['verdict'] or 'not judged'}")
    _say("checkpoint", f"sha256 {found['checkpoint_sha256']}, {found['source']}")
    _say("runs", f"MLflow {found['runs']['mlflow']}, Dagster {found['runs']['dagster']}")
    _say("commit", found["commit"])
    _say("base", f"{base['name']}, {base['repository']}, revision {base['revision']}, sha256 {base['sha256']}")
    _say("dataset", f"version {found['dataset_version']}" + ("" if dataset else ", which this lake does not know"))
    if dataset:
        erased = f", {dataset['erased_clips']} forgotten since" if dataset["erased_clips"] else ""
        _say(
            "",
            f"{dataset['clips']} of {dataset['clips_in']} clips{erased}, {dataset['identities']} persons, {dataset['made_at']}",
        )
        _say("policies", ", ".join(dataset["policies"]) or "none recorded")
        _say("funnel", funnel_in_words(dataset["funnel"]))
    for name, licence in _first_named("terms", found["licences"]):
        _say(name, licence)
    for row in found["judgements"]:
        against = f"version {row['against_version']}" if row["against_version"] else "nobody"
        _say("judged", f"{row['judged_at']}: {row['verdict']} by gate {row['gate']} against {against}")
        for rule in row["findings"]:
            _say("", f"{rule['verdict']:10} {rule['rule']}: {rule['sentence']}")
    for row in found["promotions"]:
        moved = f"{row['from_version'] or 'nobody'} -> {row['to_version'] or 'nobody'}"
        _say("moved", f"{row['moved_at']}: {row['alias']} {moved}, {row['how']} by {row['moved_by']}: {row['why']}")
    splits = Counter(clip["split"] for clip in found["clips"])
    for split, clips in sorted(splits.items()):
        _say("clips", f"{clips} of split {split}")
    for clip in found["clips"][:MOST_CLIPS]:
        _say("", f"{clip['clip_id']}  {clip['split']:10} {clip['source']}: {clip['licence']}")
    if len(found["clips"]) > MOST_CLIPS:
        _say("", f"the first {MOST_CLIPS} of {len(found['clips'])}: --json gives all")


def _show_clip(found: Mapping[str, Any]) -> None:
    _say("clip", found["clip_id"])
    for row in found["dataset_versions"]:
        _say(
            "dataset",
            f"version {row['dataset_version']} of {row['made_at']}, split {row['split']}, {row['source']}: {row['licence']}",
        )
    for row in found["models"]:
        _say("trained", f"{row['model']} ({', '.join(row['aliases']) or 'no alias'}), checkpoint {row['checkpoint_sha256']}")
    for row in found["checkpoints"]:
        _say("trained", f"{row['model']}, never registered")
    if not found["models"] and not found["checkpoints"]:
        _say("trained", "no model in the registry")


def _first_named(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    return [(name if place == 0 else "", value) for place, value in enumerate(values)]


def _say(what: str, text: str | None) -> None:
    CONSOLE.print(f"{what + ':' if what else '':12}{text or 'unknown'}")
