"""Make the golden ONNX files: a bidirectional LSTM of two layers, by both exporters of PyTorch.

Run it from the root of the repository, with PyTorch, onnx and onnxscript installed:

    python -m tests.golden.make_onnx

The inputs and outputs, with the batch first, are in torch_onnx.npz.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx

from tests.golden.libraries import INPUTS, H

HERE = Path(__file__).parent


def save(path):
    """Save a model without what its nodes say about their origin."""
    model = onnx.load(path)
    for part in (model, *model.graph.node, *model.graph.value_info, *model.graph.input):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.graph.value_info[:]
    onnx.save(model, path)


if __name__ == "__main__":
    import torch  # not at the top: the tests import every module

    torch.manual_seed(0)
    lstm = torch.nn.LSTM(INPUTS, H, 2, bidirectional=True, batch_first=True)
    xs = torch.randn(2, 5, INPUTS)
    with torch.no_grad():
        ys, (h, c) = lstm(xs)
    arrays = {"xs": xs, "ys": ys, "h": h, "c": c}
    np.savez_compressed(HERE / "torch_onnx.npz", **{k: a.numpy() for k, a in arrays.items()})
    axes = {0: "batch", 1: "time"}
    sizes = {axis: torch.export.Dim(name) for axis, name in axes.items()}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            lstm, (xs,), HERE / "torch_script.onnx", dynamo=False, opset_version=17,
            input_names=["xs"], output_names=["ys", "h", "c"], dynamic_axes={"xs": axes},
        )  # fmt: skip
        torch.onnx.export(
            lstm, (xs,), HERE / "torch_dynamo.onnx", dynamo=True, external_data=False,
            input_names=["xs"], output_names=["ys", "h", "c"], dynamic_shapes=(sizes,),
        )  # fmt: skip
    for name in ("torch_script.onnx", "torch_dynamo.onnx"):
        save(HERE / name)
