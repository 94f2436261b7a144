"""Entry point of the `lafid` command.

Belongs here: the commands' signatures, and turning errors into one line. Not here: the work (modules beside this one).
"""

import atexit
import json
import os
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from lafid_assets.cli import models
from lafid_assets.cli.display import ERRORS, show_funnel
from resources.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.splitlines()[0])
app.add_typer(models.app, name="models")

DISK_FULL = ("No space left on device", "database or disk is full", "disk I/O error")


class Scan(StrEnum):
    """Whether clips are scanned before they are surveyed."""

    ON = "on"
    OFF = "off"


ExportForm = Literal["parquet", "csv", "webdataset", "hf"]
Home = Annotated[Path | None, typer.Option(help="Where state lives; default $LAFID_HOME, else .lafid/ in the checkout.")]
Model = Annotated[str, typer.Option(help="What to pull from MLflow.")]
Face = Annotated[str, typer.Option(help="Which face of every picture: only, largest, or a number from 0 (the largest).")]
Half = Annotated[bool, typer.Option("--half", help="Transformers and text encoder in bfloat16.")]
LowMemory = Annotated[bool, typer.Option("--low-memory", help="For small cards: parts wait on the CPU, the VAE works in tiles.")]
BaseFolder = Annotated[Path | None, typer.Option(help="The base's folder, where it does not travel with the model.")]
SemanticEncoder = Annotated[Path | None, typer.Option(help="A CLIP, SigLIP or DINOv2's folder, where the preset wants one.")]


@app.command()
def demo(home: Home = None) -> None:
    """Sample footage, every asset through Dagster, a tiny model trained, registered, pulled back, one video generated."""
    from lafid_assets.cli.demo import run_demo

    run_demo(_settings(home))


@app.command()
def curate(
    folder: Annotated[Path, typer.Argument(help="OpenHumanVid's layout, or a plain folder of videos.")],
    home: Home = None,
    engine: Annotated[str, typer.Option(help="Face engine: auto, dlib, insightface.")] = "auto",
    head_pose: Annotated[str, typer.Option(help="Head pose of insightface: auto, 6drepnet, fsanet.")] = "auto",
    scan: Annotated[Scan, typer.Option(help="Drop hopeless clips after a few looks; off: survey every clip.")] = Scan.ON,
    policy: Annotated[str, typer.Option(help="cofe, cofe_with_released_gates, faithfulfaces, or a TOML file.")] = "cofe",
    clips_per_shard: Annotated[int, typer.Option(min=1, help="Size of new shards.")] = 500,
    only: Annotated[Path | None, typer.Option(help="CSV with clip_id or path: take in no other clips.")] = None,
    error_budget: Annotated[float, typer.Option(min=0, max=1, help="Share of a shard's clips that may fail.")] = 0.05,
    transcripts: Annotated[Path | None, typer.Option(help="Made elsewhere: .csv, .json, or a folder of <clip_id>.srt.")] = None,
    caption_llm: Annotated[str | None, typer.Option(help="URL,MODEL: refines captions; they leave this machine.")] = None,
    caption_frames: Annotated[str | None, typer.Option(help="URL,MODEL: writes missing captions; frames leave it.")] = None,
) -> None:
    """Ingest a folder and materialize everything up to dataset_report."""
    from lafid_assets.cli.curate import run_curate
    from lafid_assets.cli.materialize import CurationChoices
    from lafid_assets.constraints.policies import load_policy
    from lafid_assets.speech.chat_endpoint import endpoint_of
    from resources.face_engine import EngineChoice

    settings = _settings(home)  # before anything can fail: the traceback goes to this home
    face_engine = EngineChoice(engine=engine, head_pose=head_pose)
    choices = CurationChoices(
        face_engine,
        scan is Scan.ON,
        load_policy(policy),
        transcripts,
        None if caption_llm is None else endpoint_of(caption_llm),
        None if caption_frames is None else endpoint_of(caption_frames),
        error_budget,
    )
    run_curate(settings, folder, choices, clips_per_shard, only)


@app.command()
def funnel(
    home: Home = None, as_json: Annotated[bool, typer.Option("--json", help="One object instead of a table.")] = False
) -> None:
    """How many clips came in, were kept, and how the others ended."""
    from lafid_assets.cli.funnel import read_funnel

    counts = read_funnel(_settings(home))
    if as_json:
        print(json.dumps(counts))
    else:
        show_funnel(counts)


@app.command()
def explain(
    clip: Annotated[str, typer.Argument(help="A clip's id, or the beginning of it, or its file's name.")],
    out: Annotated[Path | None, typer.Option(help="The strip of frames to write; explain/<clip>.png in the home.")] = None,
    home: Home = None,
) -> None:
    """Every measure of one clip, every rule it met or missed, and the frames that decided."""
    from lafid_assets.cli.explain import run_explain

    run_explain(_settings(home), clip, out)


@app.command()
def whatif(
    changes: Annotated[list[str] | None, typer.Option("--set", help="field=value of the face policy; none switches off.")] = None,
    policy: Annotated[str | None, typer.Option(help="Start from this policy (a name or a TOML file).")] = None,
    out: Annotated[Path | None, typer.Option(help="A PNG of the histogram to write; none when left out.")] = None,
    home: Home = None,
) -> None:
    """What another face policy would keep, from stored measures; nothing is decided by it."""
    from lafid_assets.cli.whatif import run_whatif

    run_whatif(_settings(home), changes or [], policy, out)


@app.command()
def calibrate(
    labels: Annotated[Path, typer.Argument(help="CSV with clip_id and label (1 or 0).")],
    measure: Annotated[str, typer.Option(help="A measure that a rule of the face policy reads.")] = "pose_variation_deg",
    out: Annotated[Path | None, typer.Option(help="The picture to write; calibrate-<measure>.png in the home.")] = None,
    home: Home = None,
) -> None:
    """The threshold curve of a measure against hand labels."""
    from lafid_assets.cli.calibrate import run_calibrate

    run_calibrate(_settings(home), labels, measure, out)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the tables.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All rows as JSON.")] = False,
    home: Home = None,
) -> None:
    """Ask all tables a question in SQL; nothing can be changed by it."""
    from lafid_assets.cli.query import run_query

    run_query(_settings(home), sql, "csv" if as_csv else "json" if as_json else "table")


@app.command()
def diff(
    older: Annotated[str, typer.Argument(help="A dataset version, the beginning of one, or `latest`.")],
    newer: Annotated[str, typer.Argument(help="Another one.")],
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Which clips came, went or changed between two versions of the dataset, and why."""
    from lafid_assets.cli.diff import read_diff, show_diff

    difference = read_diff(_settings(home), older, newer)
    if as_json:
        print(json.dumps(difference))
    else:
        show_diff(difference)


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
) -> None:
    """Write a version of the dataset in a form that others can load. Goes on where it was interrupted."""
    from lafid_assets.cli.export import run_export

    run_export(
        _settings(home),
        destination,
        form,
        version,
        allow_licence or [],
        allow_model_licence or [],
        skip_refused=skip_refused,
        clips_per_shard=clips_per_shard,
    )


@app.command()
def forget(
    clip: Annotated[list[str] | None, typer.Option(help="A clip's id; may be repeated.")] = None,
    identity: Annotated[list[str] | None, typer.Option(help="A person: all clips of an identity_id; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be done.")] = False,
    delete_file: Annotated[bool, typer.Option("--delete-file", help="Also delete the clips' own files.")] = False,
    home: Home = None,
) -> None:
    """Take clips out of every table, file and kept version, for ever. Finishes what an interrupted run left."""
    from lafid_assets.cli.forget import run_forget

    run_forget(_settings(home), clip or [], identity or [], dry_run=dry_run, delete_files=delete_file)


@app.command()
def generate(
    prompt: Annotated[str, typer.Option(help="What happens in the video.")],
    out: Annotated[Path, typer.Option(help="The mp4 to write.")],
    image: Annotated[Path | None, typer.Option(help="The first frame; without photos, the face too.")] = None,
    photo: Annotated[
        list[Path] | None, typer.Option(help="Of the person; repeatable. Without an image the first frame is drawn.")
    ] = None,
    model: Model = "models:/lafid@champion",
    negative_prompt: Annotated[str | None, typer.Option(help="What shall not be seen.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames; the model's own number when left out.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Pixels; the model's own area when left out.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Pixels; the model's own area when left out.")] = None,
    guidance: Annotated[float, typer.Option(help="How strongly the text counts; 1 switches guidance off.")] = 3.0,
    face_guidance: Annotated[float, typer.Option(help="How strongly the face counts; 1 is as trained.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same frames.")] = 0,
    face: Face = "only",
    half: Half = False,
    low_memory: LowMemory = False,
    base: BaseFolder = None,
    semantic_encoder: SemanticEncoder = None,
    home: Home = None,
) -> None:
    """Pull a model from MLflow and generate a video of the person in the pictures."""
    from lafid_assets.cli.generate import Loading, VideoRequest, run_generate

    request = VideoRequest(
        prompt=prompt,
        image=image,
        photos=tuple(photo or ()),
        negative_prompt=negative_prompt,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        guidance=guidance,
        face_guidance=face_guidance,
        seed=seed,
        face=face,
    )
    run_generate(_settings(home), model, request, out, Loading(half, low_memory, base, semantic_encoder))


@app.command()
def inspect(
    image: Annotated[Path | None, typer.Option(help="The first frame; without photos, the face too.")] = None,
    photo: Annotated[list[Path] | None, typer.Option(help="Of the person; several show the dictionary by pose.")] = None,
    prompt: Annotated[str, typer.Option(help="What happens in the video.")] = "",
    model: Model = "models:/lafid@champion",
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("inspection"),
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    face: Face = "only",
    base: BaseFolder = None,
    semantic_encoder: SemanticEncoder = None,
    home: Home = None,
) -> None:
    """Draw which face expert speaks in which layer and when, and which dictionary elements a pose wakes."""
    from lafid_assets.cli.generate import Loading, VideoRequest
    from lafid_assets.cli.inspect import run_inspect

    request = VideoRequest(prompt=prompt, image=image, photos=tuple(photo or ()), steps=steps, seed=seed, face=face)
    run_inspect(_settings(home), model, request, out, Loading(base_dir=base, semantic_dir=semantic_encoder))


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One of them; all when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects instead of a table.")] = False,
    home: Home = None,
) -> None:
    """What each preset costs, built without its weights: parameters, tokens, operations, memory."""
    from lafid_assets.cli.presets import run_presets

    _settings(home)
    run_presets(name, as_json=as_json)


@app.command()
def adopt(
    name: Annotated[str, typer.Argument(help="A preset on a published base: `lafid presets` lists them.")],
    commit: Annotated[str | None, typer.Argument(help="That was fetched, 40 hex digits; else as the download recorded.")] = None,
    home: Home = None,
) -> None:
    """Take a published base that was fetched into the store into use: check it, and record its commit and hash."""
    from lafid_assets.cli.adopt import run_adopt

    run_adopt(_settings(home), name, commit)


@app.command()
def ui(
    home: Home = None,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Dagster UI and MLflow UI on this project's data, until Ctrl-C."""
    from lafid_assets.cli.ui import run_ui

    run_ui(_settings(home), port, mlflow_port)


@app.command()
def sweep(
    home: Home = None, dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False
) -> None:
    """Remove cached latents that no row of training_latents names; not while a run is at work."""
    from lafid_assets.cli.sweep import run_sweep

    run_sweep(_settings(home), dry_run=dry_run)


@app.command()
def compact(home: Home = None) -> None:
    """Put the lake's small files together, and drop those that no table needs any more."""
    from lafid_assets.cli.upkeep import run_compact

    run_compact(_settings(home))


@app.command()
def rebuild(home: Home = None) -> None:
    """Make the catalog anew from its copy in the store, where it is lost or the store was moved."""
    from lafid_assets.cli.upkeep import run_rebuild

    run_rebuild(_settings(home))


def main() -> None:
    """The console script."""
    code = run()
    # DuckDB's and torch's native parts print pages about each other while the interpreter is torn down: leave before.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run() -> int:
    """The command itself; its exit code. An error is one line that names thing and remedy, its traceback goes to the log."""
    try:
        app(standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        ERRORS.print("[red]error:[/]", end=" ")
        ERRORS.print(_one_line(error), soft_wrap=True, markup=False)
        _keep_traceback()
        return 1
    return 0


def _settings(home: Path | None) -> Settings:
    if home is not None:
        os.environ["LAFID_HOME"] = str(home)  # for the children, and for where the traceback goes
    # Read when torch loads, here and in children: threads that spin while they wait starve each other on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return Settings.from_environment()


def _one_line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed: install lafid with its extras, `pip install 'lafid[all]'`"
    text = " ".join(str(error).split()) or type(error).__name__
    signs = [sign for sign in DISK_FULL if sign in text]  # wrapped by SQLAlchemy, DuckDB or Dagster, hence by their words
    if signs:
        home = Settings.from_environment().home
        return f"the disk of the home {home} is full ({signs[0]}): free some space, or set LAFID_HOME to another disk"
    return text


def _keep_traceback() -> None:
    log = Settings.from_environment().logs / "last-error.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
    except OSError:
        return  # the home itself is the trouble, and the line above says so
    ERRORS.print(f"details: {log}", style="dim", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
