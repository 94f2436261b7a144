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
from typing import Annotated

import typer

from lafid_assets.cli import models
from lafid_assets.cli.display import CONSOLE, ERRORS, show_funnel
from resources.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.splitlines()[0])
app.add_typer(models.app, name="models")

DISK_FULL = ("No space left on device", "database or disk is full", "disk I/O error")


class Scan(StrEnum):
    """Whether clips are scanned before they are surveyed."""

    ON = "on"
    OFF = "off"


Home = Annotated[Path | None, typer.Option(help="Where state lives; default $LAFID_HOME, else .lafid/ in the checkout.")]


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
    clips_per_shard: Annotated[int, typer.Option(min=1, help="Size of new shards.")] = 500,
) -> None:
    """Ingest a folder and materialize everything up to dataset_report."""
    from lafid_assets.cli.curate import run_curate
    from resources.face_engine import EngineChoice

    choice = EngineChoice(engine=engine, head_pose=head_pose)
    run_curate(_settings(home), folder, choice, clips_per_shard, scan=scan is Scan.ON)


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
    clip: Annotated[str, typer.Argument(help="A clip's id, or the beginning of it.")],
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
    out: Annotated[Path | None, typer.Option(help="The picture to write; whatif.png in the home.")] = None,
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
    sql: Annotated[str, typer.Argument(help="One SELECT over the published tables.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All rows as JSON.")] = False,
    home: Home = None,
) -> None:
    """Ask the published DuckDB file a question in SQL."""
    from lafid_assets.cli.query import run_query

    run_query(_settings(home), sql, "csv" if as_csv else "json" if as_json else "table")


@app.command()
def generate(
    image: Annotated[Path, typer.Option(help="A photo with one face, or the first frame.")],
    prompt: Annotated[str, typer.Option(help="What happens in the video.")],
    out: Annotated[Path, typer.Option(help="The mp4 to write.")],
    model: Annotated[str, typer.Option(help="What to pull from MLflow.")] = "models:/lafid@champion",
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames; the model's own number when left out.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same frames.")] = 0,
    home: Home = None,
) -> None:
    """Pull a model from MLflow and generate a video of the person in the image."""
    from lafid_assets.cli.generate import run_generate

    run_generate(_settings(home), model, image, prompt, out, steps=steps, frames=frames, seed=seed)


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
def rebuild(home: Home = None) -> None:
    """Make the DuckDB file anew from the store's Parquet."""
    from lafid_assets.contract import comments
    from lafid_assets.schemas import TABLES
    from resources.shard_store import ShardStore
    from resources.warehouse import Warehouse

    settings = _settings(home)
    settings.prepare()
    tables = Warehouse(settings.warehouse_path, ShardStore(settings.store_uri), comments(TABLES)).rebuild()
    CONSOLE.print(f"{settings.warehouse_path}: {len(tables)} tables", soft_wrap=True, markup=False)


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
