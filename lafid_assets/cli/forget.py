"""`lafid forget`: a clip, or all clips of a person, out of everything. Needs no Dagster."""

from collections.abc import Sequence
from contextlib import closing, nullcontext

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.dataset.forget.erase import Erased, Eraser, raw_paths
from lafid_assets.dataset.forget.subject import INTENT, NobodyToForget, Subject, identify, read_intent, write_intent
from lafid_assets.dataset.forget.trained_models import models_trained_on
from lafid_assets.lake import open_lake
from resources.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking


def run_forget(settings: Settings, clips: Sequence[str], identities: Sequence[str], *, dry_run: bool, delete_files: bool) -> None:
    """Finish what an earlier run left, then forget these; in a dry run only say what would be done.

    Raises:
        NobodyToForget: nothing was named, or something unknown.
        ForgetIncomplete: a file could not be cleaned; the message names it.
        StoreBusy: a run is at work in the store.
    """
    with closing(open_lake(settings, read_only=dry_run)) as lake, nullcontext() if dry_run else lake.leases.alone("lafid forget"):
        _forget_these(settings, lake, clips, identities, dry_run=dry_run, delete_files=delete_files)


def _forget_these(
    settings: Settings, lake: Lake, clips: Sequence[str], identities: Sequence[str], *, dry_run: bool, delete_files: bool
) -> None:
    unfinished = None if dry_run else read_intent(settings.home)
    if unfinished is not None:
        CONSOLE.print("an earlier `lafid forget` was interrupted: finishing it first")
        _forget(settings, lake, unfinished, dry_run=False)
    if clips or identities:
        still_there = [clip for clip in clips if unfinished is None or clip not in unfinished.clip_ids]
        if still_there or identities:
            subject = identify(lake, still_there, identities, delete_files=delete_files)
            _forget(settings, lake, subject, dry_run=dry_run)
    elif unfinished is None:
        raise NobodyToForget("nobody to forget: name a clip with --clip, or a person with --identity")


def _forget(settings: Settings, lake: Lake, subject: Subject, *, dry_run: bool) -> None:
    raw_files = raw_paths(subject)
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    with working("looking for models that were trained on them"):
        models = models_trained_on(subject, tracking)
    with working(f"{'looking for' if dry_run else 'forgetting'} {len(subject.clip_ids)} clips"):
        if not dry_run:
            write_intent(settings.home, subject)
        done = Eraser(settings, lake, subject, tracking, dry_run).run()
    if not dry_run:
        (settings.home / INTENT).unlink()
    _show(subject, done, models, [str(path) for path in raw_files], settings, dry_run=dry_run)


def _show(subject: Subject, done: Erased, models: list[str], raw_files: list[str], settings: Settings, *, dry_run: bool) -> None:
    would, are = ("would be ", "would be ") if dry_run else ("", "are ")
    if dry_run:
        _say("clips", subject.clip_ids)
    else:
        CONSOLE.print(f"{len(subject.clip_ids)} clips are forgotten; a search of all files finds nothing of them")
    _say(f"{would}rewritten", done.rewritten)
    _say(f"{would}removed", done.removed)
    _say(f"persons who stay and {are}renamed, for their names began like a clip's id", _renamings(subject))
    kept = raw_files if dry_run or not subject.delete_files else []
    fate = "would be deleted" if subject.delete_files else "which stay (--delete-file deletes them)"
    _say(f"their own files, {fate}", kept)
    _say("recordings that hold their shots among others, which stay", subject.recordings)
    _say("models that were trained on them: weights do not forget, retire or retrain them", models)
    _say("pictures that MLflow holds: look whether they show them", done.pictures_to_check)
    elsewhere = [] if settings.mlflow_uri.startswith("sqlite:") else [f"{settings.mlflow_uri}: texts of its runs"]
    if "://" in settings.store_uri:
        elsewhere.append(f"{settings.store_uri}: earlier versions of objects, where the bucket keeps them")
    if settings.catalog_address:
        elsewhere.append("the catalog's server: its log of changes and its backups")
    _say("not on this machine, look there yourself", elsewhere)
    CONSOLE.print("Exports made before, and tables or files that the clips came from, are yours to clean.")


def _renamings(subject: Subject) -> list[str]:
    return [f"{old} is {new}" for old, new in subject.renamed.items()]


def _say(what: str, things: Sequence[str]) -> None:
    if things:
        CONSOLE.print(f"{what} ({len(things)}):", markup=False)
        for thing in things:
            CONSOLE.print(f"  {thing}", soft_wrap=True, markup=False)
