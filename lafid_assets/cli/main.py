"""Entry point of the `lafid` command.

Belongs here: the commands' signatures. Not here: the work, and what an error looks like (modules beside this one).
"""

import atexit
import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from lafid_assets.cli import drawing_commands, models, release_commands, settings
from lafid_assets.cli.display import CONSOLE, ERRORS, answer, keep_traceback, show_funnel
from lafid_assets.cli.options import AsJson, Home, settings_of
from lafid_assets.runs.failure_line import one_line

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__.splitlines()[0])
app.add_typer(models.app, name="models")
app.add_typer(settings.app, name="settings")


Scan = Literal["on", "off"]
ExportForm = Literal["parquet", "csv", "webdataset", "hf"]
OBJECTS_BETWEEN_LOOKS = 10_000
"""After how many new objects Python looks for garbage. With its own 700 that is a seventh of a command's start: it imports what
lives to its end."""


def _show_version(asked: bool) -> None:
    if asked:
        print(f"lafid {version('lafid')}")
        raise typer.Exit


@app.callback()
def lafid(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """What every command is told alike."""


@app.command()
def demo(home: Home = None) -> None:
    """Sample footage, every asset through Dagster, a tiny model trained, registered, pulled back, one video generated."""
    from lafid_assets.cli.demo import run_demo

    run_demo(settings_of(home))


@app.command()
def init(home: Home = None) -> None:
    """Write the home's lafid.toml: every setting there is, with its meaning and default, commented out."""
    from lafid_assets.cli.settings import run_init

    run_init(settings_of(home))


@app.command()
def curate(
    folder: Annotated[str, typer.Argument(help="OpenHumanVid's layout or plain videos, in a folder or s3://bucket/prefix.")],
    home: Home = None,
    engine: Annotated[str | None, typer.Option(help="Face engine: auto, dlib, insightface.")] = None,
    head_pose: Annotated[str | None, typer.Option(help="Head pose of insightface: auto, 6drepnet, fsanet.")] = None,
    scan: Annotated[Scan | None, typer.Option(help="Drop hopeless clips after a few looks; off: survey every clip.")] = None,
    policy: Annotated[str | None, typer.Option(help="cofe, cofe_with_released_gates, faithfulfaces, or a TOML file.")] = None,
    clips_per_shard: Annotated[int | None, typer.Option(min=1, help="Size of new shards.")] = None,
    only: Annotated[Path | None, typer.Option(help="CSV with clip_id or path: take in no other clips.")] = None,
    error_budget: Annotated[float | None, typer.Option(min=0, max=1, help="Share of a shard's clips that may fail.")] = None,
    transcripts: Annotated[Path | None, typer.Option(help="Made elsewhere: .csv, .json, or a folder of <clip_id>.srt.")] = None,
    caption_llm: Annotated[str | None, typer.Option(help="URL,MODEL: refines captions; they leave this machine.")] = None,
    caption_frames: Annotated[str | None, typer.Option(help="URL,MODEL: writes missing captions; frames leave it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ingest a folder and materialize everything up to dataset_report. What is not named is as in lafid.toml."""
    from lafid_assets.captions.chat_endpoint import endpoint_of
    from lafid_assets.cli.curate import run_curate, show_curated
    from lafid_assets.cli.materialize import CurationChoices
    from lafid_assets.constraints.policies import load_policy

    settings = settings_of(home)  # before anything can fail: the traceback goes to this home
    choices = CurationChoices(
        engine,
        head_pose,
        None if scan is None else scan == "on",
        None if policy is None else load_policy(policy),
        transcripts,
        None if caption_llm is None else endpoint_of(caption_llm),
        None if caption_frames is None else endpoint_of(caption_frames),
        error_budget,
    )
    answer(run_curate(settings, folder, choices, clips_per_shard, only), show_curated, as_json=as_json)


@app.command()
def funnel(home: Home = None, as_json: AsJson = False) -> None:
    """How many clips came in, were kept, and how the others ended."""
    from lafid_assets.cli.funnel import read_funnel

    answer(read_funnel(settings_of(home)), show_funnel, as_json=as_json)


@app.command()
def explain(
    clip: Annotated[str, typer.Argument(help="A clip's id, or the beginning of it, or its file's name.")],
    out: Annotated[Path | None, typer.Option(help="A PNG of the frames that decided; none when left out.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Every measure of one clip, every rule it met or missed, and the frames that decided."""
    from lafid_assets.cli.explain import run_explain, show_explanation

    answer(run_explain(settings_of(home), clip, out), show_explanation, as_json=as_json)


@app.command()
def whatif(
    changes: Annotated[list[str] | None, typer.Option("--set", help="field=value of the face policy; none switches off.")] = None,
    policy: Annotated[str | None, typer.Option(help="Start from this policy (a name or a TOML file).")] = None,
    out: Annotated[Path | None, typer.Option(help="A PNG of the histogram to write; none when left out.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """What another face policy would keep, from stored measures; nothing is decided by it."""
    from lafid_assets.cli.whatif import run_whatif, show_whatif

    answer(run_whatif(settings_of(home), changes or [], policy, out), show_whatif, as_json=as_json)


@app.command()
def calibrate(
    labels: Annotated[
        Path | None, typer.Argument(help="CSV with clip_id and label (1 or 0); the marks of `lafid review` when left out.")
    ] = None,
    measure: Annotated[str, typer.Option(help="A measure that a rule of the face policy reads.")] = "pose_variation_deg",
    out: Annotated[Path | None, typer.Option(help="The picture to write; calibrate-<measure>.png in the home.")] = None,
    home: Home = None,
) -> None:
    """The threshold curve of a measure against hand labels, or against marks: which threshold most of them agree with."""
    from lafid_assets.cli.calibrate import run_calibrate

    run_calibrate(settings_of(home), labels, measure, out)


@app.command()
def review(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; 3300, or a free one, when left out.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="Go through this shard alone.")] = None,
    marker: Annotated[str | None, typer.Option("--as", help="The name that marks bear; your user name when left out.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="To be looked at only: nobody can mark.")] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    host: Annotated[str, typer.Option(help="Address to listen on: whoever reaches it sees the clips.")] = "127.0.0.1",
    home: Home = None,
) -> None:
    """A page of kept and narrowly rejected clips as videos, with their measures, to mark as decided right or wrong."""
    from lafid_assets.cli.review import run_review

    run_review(settings_of(home), host, port, shard, marker, read_only=read_only, browser=browser)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the tables.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Ask all tables a question in SQL; nothing can be changed by it."""
    from lafid_assets.cli.query import run_query

    run_query(settings_of(home), sql, "csv" if as_csv else "json" if as_json else "table")


@app.command()
def diff(
    older: Annotated[str, typer.Argument(help="A dataset version, the beginning of one, or `latest`.")],
    newer: Annotated[str, typer.Argument(help="Another one.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Which clips came, went or changed between two versions of the dataset, and why."""
    from lafid_assets.cli.diff import read_diff, show_diff

    answer(read_diff(settings_of(home), older, newer), show_diff, as_json=as_json)


@app.command()
def export(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A folder: empty, or with an unfinished export.")],
    form: Annotated[ExportForm, typer.Option("--format", help="A table, or shards with clips and reference pictures.")],
    version: Annotated[str, typer.Option(help="A dataset version, or the beginning of one.")] = "latest",
    allow_licence: Annotated[list[str] | None, typer.Option(help="A licence to pass clips on under; may be repeated.")] = None,
    allow_model_licence: Annotated[
        list[str] | None, typer.Option(help="A licence of models that measured clips, to pass them on under; may be repeated.")
    ] = None,
    skip_refused: Annotated[bool, typer.Option(help="Leave out clips whose licence, or a model's, is not allowed.")] = False,
    clips_per_shard: Annotated[int, typer.Option(min=1, help="Size of webdataset's and hf's shards.")] = 500,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write a version of the dataset in a form that others can load. Goes on where it was interrupted."""
    from lafid_assets.cli.export import run_export, show_export

    written = run_export(
        settings_of(home),
        destination,
        form,
        version,
        allow_licence or [],
        allow_model_licence or [],
        skip_refused=skip_refused,
        clips_per_shard=clips_per_shard,
    )
    answer(written, show_export, as_json=as_json)


@app.command()
def forget(
    clip: Annotated[list[str] | None, typer.Option(help="A clip's id; may be repeated.")] = None,
    identity: Annotated[list[str] | None, typer.Option(help="A person: all clips of an identity_id; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be done.")] = False,
    delete_file: Annotated[bool, typer.Option("--delete-file", help="Also delete the clips' own files.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Take clips out of every table, file and kept version, for ever. Finishes what an interrupted run left."""
    from lafid_assets.cli.forget import run_forget, show_forgotten

    done = run_forget(settings_of(home), clip or [], identity or [], dry_run=dry_run, delete_files=delete_file)
    answer(done, show_forgotten, as_json=as_json)


for command in (
    *(drawing_commands.generate, drawing_commands.inspect, drawing_commands.opens2v),
    *(release_commands.evaluate, release_commands.bench, release_commands.promote, release_commands.rollback),
    *(release_commands.lineage, drawing_commands.pull, drawing_commands.serve),
):
    app.command()(command)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One of them; all when left out.")] = None,
    cards: Annotated[list[str] | None, typer.Option(help="As '8 H100'; those at hand when left out. May come again.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates, in place of the preset's.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="How long the cards are yours: warns of what takes longer.")] = None,
    hfu: Annotated[float | None, typer.Option(min=0.01, max=1, help="Share of the cards' peak to reckon with.")] = None,
    gpu_hour: Annotated[float | None, typer.Option(envvar="LAFID_GPU_HOUR", help="What one card costs you an hour.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """What each preset costs, built without its weights: parameters, tokens, operations, memory, days on your cards."""
    from lafid_assets.cli.presets import Wish, read_presets, show_presets

    settings_of(home)
    wish = Wish(cards or [], steps, days, hfu, gpu_hour)
    answer(read_presets(name, wish), lambda found: show_presets(found, wish), as_json=as_json)


@app.command()
def adopt(
    name: Annotated[str, typer.Argument(help="A preset on a published base: `lafid presets` lists them.")],
    commit: Annotated[str | None, typer.Argument(help="That was fetched, 40 hex digits; else as the download recorded.")] = None,
    home: Home = None,
) -> None:
    """Take a published base that was fetched into the store into use: check it, and record its commit and hash."""
    from lafid_assets.cli.adopt import run_adopt

    run_adopt(settings_of(home), name, commit)


@app.command()
def precompute(
    preset: Annotated[
        str | None, typer.Option(help="For which model: `lafid presets` lists them; as in lafid.toml when left out.")
    ] = None,
    semantic_encoder: Annotated[
        str | None, typer.Option(help="Where the preset wants one: of `lafid models list`, or a folder.")
    ] = None,
    home: Home = None,
) -> None:
    """The dataset through the frozen encoders, as training reads it; alone, or as each process of a torchrun."""
    from lafid_assets.cli.precompute import run_precompute

    run_precompute(settings_of(home), preset, semantic_encoder)


@app.command()
def ui(
    home: Home = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the Dagster UI; 3000, or a free one, when left out.")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the MLflow UI; 5000, or a free one, when left out.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Dagster's pages alone, to look at; no daemon.")] = False,
) -> None:
    """Dagster UI and MLflow UI on this project's data, until Ctrl-C."""
    from lafid_assets.cli.ui import run_ui

    run_ui(settings_of(home), port, mlflow_port, read_only=read_only)


@app.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Shards, runs, the last dataset, the champion and the disk, at one look."""
    from lafid_assets.cli.status import read_status, show_status

    answer(read_status(settings_of(home)), show_status, as_json=as_json)


@app.command()
def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """What this machine lacks to work, one line each with the remedy; exit code 1 where something blocks. Changes nothing."""
    from lafid_assets.cli.doctor import read_doctor, show_doctor

    found = read_doctor(settings_of(home))
    answer(found, show_doctor, as_json=as_json)
    raise typer.Exit(int(not found["fit"]))


@app.command()
def sweep(
    home: Home = None, dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False
) -> None:
    """Remove cached latents that no row of training_latents names, and earlier benches; not while a run is at work."""
    from lafid_assets.cli.sweep import run_sweep

    run_sweep(settings_of(home), dry_run=dry_run)


@app.command()
def compact(home: Home = None) -> None:
    """Put the lake's small files together, and drop those that no table needs any more."""
    from lafid_assets.cli.upkeep import run_compact

    run_compact(settings_of(home))


@app.command()
def rebuild(home: Home = None) -> None:
    """Make the catalog anew from its copy in the store, where it is lost, of an old backup, or the store was moved."""
    from lafid_assets.cli.upkeep import run_rebuild

    run_rebuild(settings_of(home))


def main() -> None:
    """The console script."""
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, 10, 10)
    code = run()
    # DuckDB's and torch's native parts print pages about each other while the interpreter is torn down: leave before.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run() -> int:
    """The command itself; its exit code. An error is one line that names thing and remedy, its traceback goes to the log."""
    CONSOLE.stderr = False  # also after a command with --json in the same process
    try:
        app(standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        ERRORS.print("error:", style="red", end=" ")
        ERRORS.print(one_line(error))
        keep_traceback()
        return 1
    return 0


if __name__ == "__main__":
    main()
