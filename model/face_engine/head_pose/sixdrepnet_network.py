"""6DRepNet's network definition out of the `sixdrepnet` package, without its import games.

The package puts its folder on `sys.path` and imports `model`, `utils` and `backbone` as top-level names, the first of which is
ours. Here those three names lead to its folder while its definition loads, and to what they were afterwards.

Belongs here: getting the class. Not here: weights, exporting (`sixdrepnet_export`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

_NAMES = ("model", "utils", "backbone")
BACKBONE = "RepVGG-B1g2"


def build_network() -> torch.nn.Module:
    """6DRepNet in its deploy form, as its package builds it, with whatever weights torch's generator gives.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    with _only_its_own(_package_folder()):
        network = import_module("model").SixDRepNet(BACKBONE, "", deploy=True, pretrained=False)
    return network.eval()


def load_network(weights: Path) -> torch.nn.Module:
    """6DRepNet with the weights of a `.pth` file.

    Raises:
        ValueError: the file does not hold 6DRepNet's weights.
    """
    network = build_network()
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model_state_dict", state))
    except Exception as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{weights} does not hold 6DRepNet's weights in deploy form: {first_line}") from error
    return network


def _package_folder() -> Path:
    spec = find_spec("sixdrepnet")  # found, never imported: its __init__ is where the games begin
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the package sixdrepnet is not installed: install lafid with its extras, `pip install 'lafid[all]'`"
        )
    return Path(spec.origin).parent


@contextmanager
def _only_its_own(folder: Path) -> Iterator[None]:
    """Three names lead to `folder` inside the block; `sys.modules` and `sys.path` are as before after it."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _NAMES}
    path = list(sys.path)
    for name in kept:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] in _NAMES]:
            del sys.modules[name]
        sys.modules.update(kept)
