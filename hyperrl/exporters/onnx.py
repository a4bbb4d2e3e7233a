"""ONNX, built node by node: input ``obs``, output ``actions``, float32, any batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from hyperrl.errors import ArtefactError, MissingExtraError
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.float32_stages import in_float32
from hyperrl.plain_policy import ActionHead, DenseLayer

# Old enough for runtimes on robots, with all that is needed.
_OPSET = 18
_IR_VERSION = 8


class OnnxExporter(Exporter):
    """`policy.onnx`, run by onnxruntime."""

    name: ClassVar[str] = "onnx"
    usage: ClassVar[str] = (
        "`@p@.onnx` takes `obs` [batch, observations], not normalised, and gives `actions` "
        "[batch, actions], float32:\n\n"
        "```python\nimport onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("@p@.onnx")\n'
        'actions = session.run(["actions"], {"obs": observations})[0]\n```\n\n'
        "Observations are not checked for NaN.\n"
    )

    def check(self) -> None:
        """Refuse to begin without the packages.

        Raises:
            MissingExtraError: One is missing.
        """
        _packages()

    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files, see `Exporter.export`.

        Args:
            artefact: What to write.
            folder: Where.
        """
        onnx, _ = _packages()
        policy = artefact.policy
        graph = _Graph(onnx)
        if policy.normaliser is not None:
            numbers = in_float32(policy.normaliser)
            graph.add("Sub", graph.constant("mean", numbers.mean))
            graph.add("Sub", graph.constant("mean_rest", numbers.mean_rest))
            graph.add("Mul", graph.constant("inverse_deviation", numbers.inverse_deviation))
            graph.clip("clip", -numbers.clip, numbers.clip)
        for index, layer in enumerate(policy.layers):
            graph.dense(index, layer)
        graph.head(policy.head)
        model = graph.model(policy.sizes[0], policy.sizes[-1])
        onnx.helper.set_model_props(model, {"hyperrl_fingerprint": policy.fingerprint})
        onnx.checker.check_model(model, full_check=True)
        name = f"{artefact.prefix}.onnx"
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))
        return {"onnx": name, "opset": _OPSET, "input": "obs", "output": "actions"}

    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Load with onnxruntime, see `Exporter.load`.

        Args:
            folder: Where.
            details: What `export` returned.

        Raises:
            ArtefactError: The runtime refuses the file.
        """
        _, runtime = _packages()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = runtime.InferenceSession(
                str(folder / details["onnx"]), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # The runtime has exceptions of its own.
            raise ArtefactError(f"onnxruntime cannot load {folder / details['onnx']}: {error}") from error

        def act(observations: ArrayLike) -> Any:
            given = np.asarray(observations, np.float32)
            return session.run([details["output"]], {details["input"]: given})[0]

        return act


class _Graph:
    """A chain of nodes, each with the output of the one before for its first input."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.end = "obs"

    def constant(self, name: str, values: ArrayLike) -> str:
        """Add a constant and return its name."""
        array = np.asarray(values, np.float32)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *more: str, first: str | None = None, **attributes: Any) -> str:
        """Add a node behind the last one, or behind `first`, and return its output's name."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        inputs = [first or self.end, *more]
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        self.end = output
        return output

    def clip(self, name: str, low: float, high: float) -> None:
        """Limit values to an interval, unless it is all numbers."""
        if math.isfinite(high):
            self.add("Clip", self.constant(f"{name}_low", low), self.constant(f"{name}_high", high))

    def dense(self, index: int, layer: DenseLayer) -> None:
        """Add a dense layer."""
        weight = self.constant(f"weight_{index}", layer.weight)
        before = self.add("Gemm", weight, self.constant(f"bias_{index}", layer.bias), transB=1)
        simple = {
            "relu": "Relu",
            "tanh": "Tanh",
            "sigmoid": "Sigmoid",
            "softplus": "Softplus",
            "mish": "Mish",
        }
        if layer.activation in simple:
            self.add(simple[layer.activation])
        elif layer.activation == "elu":
            self.add("Elu", alpha=1.0)
        elif layer.activation == "leaky_relu":
            self.add("LeakyRelu", alpha=0.01)
        elif layer.activation == "silu":
            self.add("Sigmoid")
            self.add("Mul", before)
        elif layer.activation == "gelu":
            self.add("Mul", self.constant(f"root_{index}", math.sqrt(0.5)))
            self.add("Erf")
            self.add("Add", self.constant(f"one_{index}", 1.0))
            self.add("Mul", self.constant(f"half_{index}", 0.5))
            self.add("Mul", before)

    def head(self, head: ActionHead) -> None:
        """Add the action head."""
        self.clip("mean_clip", -head.mean_clip, head.mean_clip)
        if head.squash == "scaled_tanh":
            scale = self.constant("squash_scale", head.scale)
            self.add("Div", scale)
            self.add("Tanh")
            self.add("Mul", scale)
        elif head.squash == "tanh":
            self.add("Tanh")
        if head.bound == "clip":
            self.add("Max", self.constant("low", head.low))
            self.add("Min", self.constant("high", head.high))
        elif head.bound == "unscale":
            self.add("Add", self.constant("head_one", 1.0))
            self.add("Mul", self.constant("head_half", 0.5))
            self.add("Mul", self.constant("range", head.high - head.low))
            self.add("Add", self.constant("low", head.low))

    def model(self, inputs: int, outputs: int) -> Any:
        """Return the model, its last output named ``actions``."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        self.nodes[-1].output[0] = "actions"
        graph = helper.make_graph(
            self.nodes,
            "policy",
            [helper.make_tensor_value_info("obs", kind, ["batch", inputs])],
            [helper.make_tensor_value_info("actions", kind, ["batch", outputs])],
            self.constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(
            graph, producer_name="hyperrl", ir_version=_IR_VERSION, opset_imports=[opset]
        )


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name or 'onnx'} is not installed: pip install 'hyperrl[onnx]'"
        ) from error
    return onnx, onnxruntime
