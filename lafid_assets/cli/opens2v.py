"""`lafid opens2v`: OpenS2V-Eval's prompts drawn by a model, and the score file that LaFID can fill.

Belongs here: their order, and what becomes of a prompt that cannot be drawn. Not here: the benchmark's files
(`model.evaluation.opens2v`), one video (`generate`), FaceSim (`model.evaluation.measures.facesim`).
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.generate import VideoRequest, draw, manifest_of, not_drawn_yet, pull_model
from lafid_assets.cli.options import ModelOptions
from model.evaluation.opens2v import DrawRequest, OpenS2VError, means_of, read_prompts, read_scores, requests_of, write_scores
from resources.settings import Settings

if TYPE_CHECKING:
    from model.evaluation.measures.networks import Networks
    from model.evaluation.measures.record import DrawnVideo

SCORES = "facesim.json"


def run_opens2v(how: ModelOptions, model: str, prompts: Path, out: Path, request: VideoRequest) -> None:
    """Draw every prompt that asks for one person, as `<key>.mp4`, and score what was drawn. Goes on where it stopped.

    Args:
        prompts: the benchmark's file, beside whose folder `Images` its pictures lie.
        out: the folder for videos and score files.
        request: how each is drawn; its words and pictures are the prompts'.
    """
    requests, absent = requests_of(read_prompts(prompts), prompts.parent)
    if not requests:
        why = next(iter(absent.values()), "it holds no prompt")
        raise OpenS2VError(f"{prompts} asks for nothing that a model of one person can draw: {why}")
    begins_with_picture = manifest_of(how.settings, model).base.layout == "i2v"
    asked = {out / one.video_name: one for one in requests}
    wanted = {
        path: replace(request, prompt=one.prompt, photos=(one.photo,), image=one.photo if begins_with_picture else None)
        for path, one in asked.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    absent |= _draw_all(how, model, not_drawn_yet(how, model, wanted))
    _score(how.settings, out, [one for path, one in asked.items() if path.is_file()], absent)


def _draw_all(how: ModelOptions, model: str, wanted: dict[Path, VideoRequest]) -> dict[str, str]:
    """Key to why it could not be drawn: a picture without a face costs its own video."""
    if not wanted:
        return {}
    from model.encoding.face_processor import FaceError
    from model.encoding.picture import PictureUnusable, read_picture

    pipeline, failed = pull_model(how, model), {}
    for path, one in wanted.items():
        try:
            [photo] = [read_picture(picture) for picture in one.photos]
            draw(pipeline, path, one, None if one.image is None else photo, [photo], how.drawing)
        except (FaceError, PictureUnusable) as error:
            failed[path.stem] = str(error)
            path.unlink(missing_ok=True)  # one that another model drew must not be scored for this one
            CONSOLE.print(f"{path.stem}: {error}", style="yellow")
    return failed


def _score(settings: Settings, out: Path, drawn: list[DrawRequest], absent: dict[str, str]) -> None:
    from model.evaluation.measures.catalogue import finite
    from model.evaluation.measures.facesim import opens2v_arc, opens2v_cur
    from model.evaluation.measures.networks import Networks
    from model.evaluation.measures.record import Absent
    from model.model_store.store import ModelStore

    networks = Networks(ModelStore(settings.models))
    scores: dict[str, dict[str, float]] = {}
    with working(f"scoring {len(drawn)} videos"):
        for one in drawn:
            scores[one.key], video = {}, _video(out / one.video_name, one, networks)
            for field, measure in (("cur_score", opens2v_cur), ("arc_score", opens2v_arc)):
                try:
                    scores[one.key][field] = finite(measure(video))
                except Absent as reason:
                    absent.setdefault(one.key, str(reason))
    write_scores(out, {SCORES: scores}, {SCORES: absent})
    for name, (mean, count) in means_of(read_scores(out)).items():
        CONSOLE.print(f"{name} {mean:.4f} over {count} videos")
    CONSOLE.print(f"{len(drawn)} videos in {out}; absent.json says what is not scored, and why")


def _video(path: Path, one: DrawRequest, networks: "Networks") -> "DrawnVideo":
    import av
    import numpy as np

    from model.encoding.picture import read_picture
    from model.encoding.video_io import read_frames
    from model.evaluation.measures.record import DrawnVideo

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count, fps = stream.frames, float(stream.average_rate or 1)
    frames = read_frames(path, [(index + 0.5) / fps for index in range(count)])
    return DrawnVideo(frames, False, fps, one.prompt, np.asarray(read_picture(one.photo)), networks)
