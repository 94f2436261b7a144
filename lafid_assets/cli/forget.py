"""`lafid forget`: a clip, or all clips of a person, out of everything. Needs no Dagster."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.dataset.forget.elsewhere import models_trained_on, own_files
from lafid_assets.dataset.forget.erase import Eraser
from lafid_assets.dataset.forget.subject import INTENT, NobodyToForget, Subject, identify, read_intent, write_intent
from lafid_assets.lake import open_lake
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.s3_objects import SCHEME
from resources.tracking import Tracking


def run_forget(
    settings: Settings, clips: Sequence[str], identities: Sequence[str], *, dry_run: bool, delete_files: bool
) -> dict[str, Any]:
    """Finish what an earlier run left, then forget these; in a dry run only find what would be done.

    Returns:
        one object: `dry_run`, and `forgotten` with what was done for each: for the earlier run's clips, and for these.
    """
    with closing(open_lake(settings, read_only=dry_run)) as lake, nullcontext() if dry_run else lake.alone("lafid forget"):
        done = list(_forget_these(settings, lake, clips, identities, dry_run=dry_run, delete_files=delete_files))
    return {"dry_run": dry_run, "forgotten": done}


def _forget_these(
    settings: Settings, lake: Lake, clips: Sequence[str], identities: Sequence[str], *, dry_run: bool, delete_files: bool
) -> Iterator[dict[str, Any]]:
    unfinished = None if dry_run else read_intent(settings.home)
    if unfinished is not None:
        CONSOLE.print("an earlier `lafid forget` was interrupted: finishing it first")
        yield _forget(settings, lake, unfinished, dry_run=False)
    if clips or identities:
        still_there = [clip for clip in clips if unfinished is None or clip not in unfinished.clip_ids]
        if still_there or identities:
            subject = identify(lake, still_there, identities, delete_files=delete_files)
            yield _forget(settings, lake, subject, dry_run=dry_run)
    elif unfinished is None:
        raise NobodyToForget("nobody to forget: name a clip with --clip, or a person with --identity")


def _forget(settings: Settings, lake: Lake, subject: Subject, *, dry_run: bool) -> dict[str, Any]:
    raw_files = own_files(subject)
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    with working("looking for models that were trained on them"):
        models = models_trained_on(subject, tracking)
    with working(f"{'looking for' if dry_run else 'forgetting'} {len(subject.clip_ids)} clips"):
        if not dry_run:
            write_intent(settings.home, subject)
        done = Eraser(settings, lake, subject, tracking, dry_run).run()
    if not dry_run:
        (settings.home / INTENT).unlink()
    return {
        "clips": list(subject.clip_ids),
        "rewritten": done.rewritten,
        "removed": done.removed,
        "renamed": subject.renamed,
        "files": raw_files,
        "delete_files": subject.delete_files,
        "recordings": list(subject.recordings),
        "models": models,
        "pictures_to_check": done.pictures_to_check,
        "look_yourself": _elsewhere(settings, subject),
    }


def _elsewhere(settings: Settings, subject: Subject) -> list[str]:
    """Places on other machines that `lafid forget` cannot reach, and where a person must look."""
    found = [] if settings.mlflow_uri.startswith("sqlite:") else [f"{settings.mlflow_uri}: texts of its runs"]
    if "://" in settings.store_uri:
        found.append(f"{settings.store_uri}: earlier versions of objects, where the bucket keeps them")
    if any(raw.clip_root.startswith(SCHEME) for raw in subject.raw_files):
        found.append("the folders HOME/scratch of other machines: what they fetched and still read")
    if settings.catalog_address:
        found.append("the catalog's server: its log of changes and its backups")
    return found


def show_forgotten(found: Mapping[str, Any]) -> None:
    """Show what was done, or in a dry run would be."""
    for done in found["forgotten"]:
        _show(done, dry_run=found["dry_run"])


def _show(done: Mapping[str, Any], *, dry_run: bool) -> None:
    would, are = ("would be ", "would be ") if dry_run else ("", "are ")
    if dry_run:
        _say("clips", done["clips"])
    else:
        CONSOLE.print(f"{len(done['clips'])} clips are forgotten; a search of all files finds nothing of them")
    _say(f"{would}rewritten", done["rewritten"])
    _say(f"{would}removed", done["removed"])
    if any(path.endswith("/lafid.duckdb") for path in done["removed"]):
        CONSOLE.print(f"lafid.duckdb {'would be' if dry_run else 'is'} gone until the next refresh: `lafid curate` ends with one")
    renamed = [f"{old} is {new}" for old, new in done["renamed"].items()]
    _say(f"persons who stay and {are}renamed, for their names began like a clip's id", renamed)
    fate = "would be deleted" if done["delete_files"] else "which stay (--delete-file deletes them)"
    _say(f"their own files, {fate}", done["files"] if dry_run or not done["delete_files"] else [])
    _say("recordings that hold their shots among others, which stay", done["recordings"])
    _say("models that were trained on them: weights do not forget, retire or retrain them", done["models"])
    _say("pictures that MLflow holds: look whether they show them", done["pictures_to_check"])
    _say("not on this machine, look there yourself", done["look_yourself"])
    CONSOLE.print("Exports made before, and tables or files that the clips came from, are yours to clean.")


def _say(what: str, things: Sequence[str]) -> None:
    if things:
        CONSOLE.print(f"{what} ({len(things)}):")
        for thing in things:
            CONSOLE.print(f"  {thing}")
