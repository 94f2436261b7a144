"""`sixdrepnet` imports `model`, `utils` and `backbone` as its own: nobody else notices."""

import sys
from pathlib import Path

import pytest
import torch

from model.face_engine.head_pose.sixdrepnet_network import build_network, load_network


def test_model_is_still_ours(random_6drepnet: Path) -> None:
    import model

    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("model", "utils", "backbone")}
    path = list(sys.path)
    network = load_network(random_6drepnet)
    import model as again

    assert again is model
    assert "face_engine" in {name.split(".")[1] for name in sys.modules if name.startswith("model.")}
    after = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("model", "utils", "backbone")}
    assert after == before
    assert "utils" not in after
    assert sys.path == path
    assert type(network).__name__ == "SixDRepNet"


def test_it_is_the_network_of_the_paper() -> None:
    with torch.device("meta"):
        network = build_network()
    assert sum(parameter.numel() for parameter in network.parameters()) == 39_323_398
    assert not network.training


def test_other_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="other.pth does not hold 6DRepNet's weights in deploy form") as raised:
        load_network(path)
    assert "\n" not in str(raised.value)
