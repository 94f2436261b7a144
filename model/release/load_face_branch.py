"""The face branch of the folder that this file lies in, on a stock diffusers pipeline of Wan. The one file to import.

    pipe = WanImageToVideoPipeline.from_pretrained(BASE)
    pipe.load_lora_weights(f"{FOLDER}/lora")                  # where the folder has one
    face = load_face_branch(pipe)
    face.show([Image.open("photo.jpg")])
    frames = pipe(image=first_frame, prompt="...", height=480, width=832, num_frames=81).frames[0]
    face.hide()                                               # the pipeline as it was

It needs what `requirements.txt` beside it names, and neither LaFID nor Dagster: the code lies in `code/`.

Belongs here: finding that code. Not here: the work (`stock`). `lafid pull` copies this file; within LaFID nobody imports it.
"""

import sys
from pathlib import Path
from typing import Any


def load_face_branch(pipe: Any, **settings: Any) -> Any:
    """`model.release.stock.FaceBranch` of this folder; `engine` and `semantic_dir` are its settings."""
    folder = Path(__file__).resolve().parent
    sys.path.insert(0, str(folder / "code"))
    try:
        from model.release.stock import FaceBranch
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is missing: install {folder}/requirements.txt; where another package named `model` was imported "
            "before, import this file first"
        ) from error
    finally:
        sys.path.remove(str(folder / "code"))
    return FaceBranch(pipe, folder, **settings)
