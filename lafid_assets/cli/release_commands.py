"""The commands about models and what they are judged by: `lafid bench`, `evaluate`, `promote`, `rollback`, `lineage`.

Belongs here: their signatures. Not here: the work (modules of these names beside this one), the commands that draw
(`drawing_commands`).
"""

from pathlib import Path
from typing import Annotated

import typer

from lafid_assets.cli.display import answer
from lafid_assets.cli.options import AsJson, Home, ModelOptions, settings_of, with_model_options


@with_model_options
def evaluate(
    model: Annotated[
        str, typer.Argument(help="models:/lafid@champion, models:/lafid/3, models:/m-..., or a checkpoint's folder.")
    ],
    against: Annotated[str | None, typer.Option(help="Another model, to compare it with on the same cases and seeds.")] = None,
    bench: Annotated[Path | None, typer.Option(help="The bench's folder; the one of the home's store when left out.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for page, tables and videos.")] = Path("evaluation"),
    cases: Annotated[int | None, typer.Option(min=1, help="Cases to draw, persons in turn; all when left out.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    processes: Annotated[int | None, typer.Option(min=1, help="That draw at a time; one a GPU when left out.")] = None,
    deadline_s: Annotated[float, typer.Option(min=1, help="Seconds of computing that one video may take.")] = 7200,
    *,
    how: ModelOptions,
) -> None:
    """Draw a bench of persons that no model was trained on, and measure who is like them. Goes on where it was interrupted."""
    from lafid_assets.cli.evaluate import Wish, run_evaluate

    run_evaluate(how, Wish(model, against, bench, out, steps=steps, cases=cases, processes=processes, deadline_s=deadline_s))


def bench(
    cases: Annotated[int | None, typer.Option(min=1, help="Videos to draw at most.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another one chooses others among equals, and other noise.")] = None,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder to copy it to, for another machine; must not exist yet.")] = None,
    home: Home = None,
) -> None:
    """Make LaFID-Bench of the persons in the test split: what every model is asked to draw, and whom it must look like. What is
    not named is as in lafid.toml."""
    from lafid_assets.cli.bench import run_bench

    named = {"cases": cases, "seed": seed, "name": name}
    run_bench(settings_of(home), {option: value for option, value in named.items() if value is not None}, out)


def promote(
    model: Annotated[str, typer.Argument(help="A registered version: models:/lafid@candidate, models:/lafid/3.")],
    why: Annotated[str, typer.Option(help="Your reason, which is recorded.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although it did not pass its judgement; needs --why.")] = False,
    home: Home = None,
) -> None:
    """Make a registered version champion; what was champion becomes previous. Recorded with who and why."""
    from lafid_assets.cli.promote import run_promote

    run_promote(settings_of(home), model, why, force=force)


def rollback(
    why: Annotated[str, typer.Option(help="Your reason, which is recorded.")] = "",
    name: Annotated[str | None, typer.Option(help="The registered model; as in lafid.toml when left out.")] = None,
    home: Home = None,
) -> None:
    """Make the previous champion champion again. Recorded with who and why."""
    from lafid_assets.cli.promote import run_rollback

    run_rollback(settings_of(home), name, why)


def lineage(
    model: Annotated[str | None, typer.Argument(help="A registered version, such as models:/lafid@champion.")] = None,
    clip: Annotated[str | None, typer.Option(help="Instead of a model: a clip's id, or the beginning of it.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """From a model back to its clips, runs and base, or from a clip to the models that were trained on it."""
    from lafid_assets.cli.lineage import read_lineage, show_lineage

    answer(read_lineage(settings_of(home), model, clip), show_lineage, as_json=as_json)
