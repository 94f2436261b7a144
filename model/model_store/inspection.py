"""Telling one network from another by its graph, so that a wrong file is refused when it arrives and not in the middle of a run.

Belongs here: what inputs and outputs give away. Not here: running anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.model_store.registry import Kind

_SCRFD_OUTPUTS = (9, 15)
"""Scores, boxes and five points at 3 or at 5 strides; without points (6, 10) a face cannot be aligned."""
_FACE_MESH_VALUES = 468 * 3
_LANDMARKS_106_VALUES = 106 * 2

Shape = tuple[int | None, ...]


class ModelUnfit(ValueError):
    """A file is not the kind of network it was given as; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Network:
    """What an ONNX graph shows. A dimension that the graph leaves open is None."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    @property
    def kind(self) -> Kind | None:
        """Which of our kinds it is; None where it is none of them."""
        if len(self.inputs) != 1 or len(self.inputs[0]) != 4:
            return None
        sides = self.inputs[0]
        if len(self.outputs) in _SCRFD_OUTPUTS and sides[1] == 3:
            return Kind.SCRFD
        if len(self.outputs) != 1:
            return None
        width = self.outputs[0][-1]
        if sides[1] == 3 and len(self.outputs[0]) == 4 and self.outputs[0][1] == 1:
            return Kind.MATTING
        if sides[1:] == (3, 112, 112) and len(self.outputs[0]) == 2 and width:
            return Kind.ARCFACE
        if sides[1:] == (3, 64, 64) and width == 3:
            return Kind.FSANET
        if sides[1:] == (192, 192, 3) and width == _FACE_MESH_VALUES:
            return Kind.FACE_MESH
        if sides[1:] == (3, 192, 192) and width == _LANDMARKS_106_VALUES:
            return Kind.LANDMARKS_106
        return None

    @property
    def embedding_dim(self) -> int | None:
        """Width of the identity embedding; None where it is no ArcFace network."""
        return self.outputs[0][-1] if self.kind is Kind.ARCFACE else None


def read_network(path: Path) -> Network:
    """Inputs and outputs of an ONNX file.

    Raises:
        ModelUnfit: it is not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise ModelUnfit(f"{path} is not an ONNX file ({error})") from error
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_shape(value) for value in graph.input if value.name not in weights)
    if not inputs or not graph.output:
        raise ModelUnfit(f"{path} is not an ONNX file with inputs and outputs")
    return Network(inputs, tuple(_shape(value) for value in graph.output))


def require_kind(path: Path, kind: Kind) -> Network:
    """The network of a file that must be of that kind.

    Raises:
        ModelUnfit: it is another one.
    """
    network = read_network(path)
    if network.kind is not kind:
        found = network.kind or f"inputs {network.inputs} and {len(network.outputs)} outputs"
        raise ModelUnfit(f"{path} is not a {kind} network: it has {found}")
    return network


def _shape(value: Any) -> Shape:
    return tuple(dimension.dim_value or None for dimension in value.type.tensor_type.shape.dim)
