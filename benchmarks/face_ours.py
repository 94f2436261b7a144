"""Children of `benchmarks.face_info` that run the project's own code, one thread each.

    python -m benchmarks.face_ours analyse|ceiling TASK.json

`analyse` gives every clip to `analyse_clip`. `ceiling` does only what nobody can leave out: one decode of the same frames, and
each network once per frame or face, on inputs that lie ready. `analyse` reads {clips, settings, out}, `ceiling` {clips, counts,
networks, out}; both write {load_cpu_s, clips: {name: {cpu_s, ...}}}.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lafid_assets.faces.clip_analysis import AnalysisSettings, ClipTask, analyse_clip
from lafid_assets.ingest.media_probe import probe

RATE_HZ = 2.0


def cpu_s() -> float:
    """User plus system seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def analyse(task: dict[str, Any]) -> Callable[[str, Path], dict[str, Any]]:
    """Each clip through `analyse_clip`."""
    settings = AnalysisSettings(**task["settings"])

    def one(name: str, path: Path) -> dict[str, Any]:
        duration_s = probe(path).duration_s
        before = cpu_s()
        clip = analyse_clip(ClipTask(name, "mix", path, duration_s, None, settings))
        return {
            "cpu_s": cpu_s() - before,
            "status": clip.status,
            "reason": clip.reason,
            "tier": clip.tier,
            "verdict": clip.scan_verdict,
            "audited": clip.audited,
            "frames": clip.frames,
            "faces": clip.faces,
        }

    one("warm-up", Path(next(iter(task["clips"].values()))))
    return one


def ceiling(task: dict[str, Any]) -> Callable[[str, Path], dict[str, Any]]:
    """One single-threaded decode and the networks alone, as often as `counts` says: {name: {looks, faces, frames}}."""
    from model.face_engine.onnx_session import open_session

    rng = np.random.default_rng(0)
    shapes = {"detector": (1, 3, 640, 640), "embedder": (1, 3, 112, 112), "head_pose": (1, 3, 224, 224)}
    sessions = {part: open_session(Path(task["networks"][part])) for part in shapes}
    inputs = {
        part: {session.get_inputs()[0].name: rng.standard_normal(shapes[part], np.float32)} for part, session in sessions.items()
    }
    for part, session in sessions.items():
        session.run(None, inputs[part])

    def one(name: str, path: Path) -> dict[str, Any]:
        counts = task["counts"][name]
        before = cpu_s()
        decode(path, counts["last_frame"])
        decoded = cpu_s()
        for part, times in (("detector", counts["looks"]), ("embedder", counts["faces"]), ("head_pose", counts["faces"])):
            for _ in range(times):
                sessions[part].run(None, inputs[part])
        return {"cpu_s": cpu_s() - before, "decode_cpu_s": decoded - before}

    return one


def decode(path: Path, last_frame: int) -> None:
    """Frames up to that number, by one thread, converted to nothing."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for number, _ in enumerate(container.decode(stream)):
            if number == last_frame:
                return


def main() -> None:
    task = json.loads(Path(sys.argv[2]).read_text())
    one = {"analyse": analyse, "ceiling": ceiling}[sys.argv[1]](task)
    result: dict[str, Any] = {"load_cpu_s": cpu_s(), "clips": {}}
    for name, path in task["clips"].items():
        result["clips"][name] = one(name, Path(path))
    Path(task["out"]).write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
