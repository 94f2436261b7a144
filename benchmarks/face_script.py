"""What a careful user would write: OpenCV decodes, `FaceAnalysis.get` finds and embeds, `SixDRepNet.predict` turns. A child of
`benchmarks.face_info`, with library defaults or with one thread everywhere; nothing of the project is imported.

    python benchmarks/face_script.py TASK.json

It samples two frames a second, and looks again at the frame with a border where nothing was found. Reads {clips, pack, head_pose,
one_thread, out}; writes {load_cpu_s, clips: {name: {cpu_s, frames: [...]}}} to `out`.
"""

import json
import os
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

RATE_HZ = 2.0
BOX_SCALE = 1.5


def cpu_s() -> float:
    """User plus system seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def load(task: dict):
    """FaceAnalysis and SixDRepNet."""
    kwargs = {"providers": ["CPUExecutionProvider"]}
    if task["one_thread"]:
        import onnxruntime
        import torch

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        kwargs["sess_options"] = options
    from insightface.app import FaceAnalysis

    faces = FaceAnalysis(name=task["pack"], **kwargs)
    faces.prepare(ctx_id=-1, det_size=(640, 640), det_thresh=0.5)
    # Its folder first on the path: sixdrepnet imports its own files as `model` and `utils`.
    sys.path.insert(0, str(Path(find_spec("sixdrepnet").origin).parent))
    from sixdrepnet import SixDRepNet

    return faces, SixDRepNet(gpu_id=-1, dict_path=task["head_pose"])


def sampled(path: str, one_thread: bool):
    """The first frame at or after every half second, BGR, with its number."""
    settings = [cv2.CAP_PROP_N_THREADS, 1] if one_thread else []
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, settings)
    fps = capture.get(cv2.CAP_PROP_FPS)
    number = wanted = 0
    while capture.grab():
        if number / fps + 1e-6 >= wanted / RATE_HZ:
            wanted = int((number / fps + 1e-6) * RATE_HZ) + 1
            yield number, capture.retrieve()[1]
        number += 1
    capture.release()


def looked_at(faces, head_pose, image) -> dict:
    """Boxes, angles and embeddings of one frame."""
    found, border = faces.get(image), 0
    if not found:
        border = int(0.5 * max(image.shape[:2]))
        image = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT)
        found = faces.get(image)
    rows = []
    for face in found:
        crop = cropped(image, face.bbox, border)
        pitch, yaw, roll = (float(angle[0]) for angle in head_pose.predict(crop))
        rows.append(
            {
                "box": [float(edge) - border for edge in face.bbox],
                "angles": [yaw, pitch, roll],
                "embedding": face.normed_embedding.tolist(),
            }
        )
    return {"again": bool(border), "faces": rows}


def cropped(image, box, border: int):
    """The box enlarged 1.5 times about its centre, inside the frame."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (float(edge) - border for edge in box)
    center_x, center_y, half_w, half_h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * BOX_SCALE / 2, (y2 - y1) * BOX_SCALE / 2
    left, top = max(0, int(center_x - half_w)), max(0, int(center_y - half_h))
    right, bottom = min(width - 2 * border, int(center_x + half_w)), min(height - 2 * border, int(center_y + half_h))
    return image[top + border : bottom + border, left + border : right + border]


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    faces, head_pose = load(task)
    warm = np.full((720, 1280, 3), 128, np.uint8)
    faces.get(warm)
    head_pose.predict(warm)
    result = {"load_cpu_s": cpu_s(), "clips": {}}
    for name, path in task["clips"].items():
        before = cpu_s()
        frames = [
            looked_at(faces, head_pose, image) | {"frame_index": number} for number, image in sampled(path, task["one_thread"])
        ]
        result["clips"][name] = {"cpu_s": cpu_s() - before, "frames": frames}
    Path(task["out"]).write_text(json.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    main()
