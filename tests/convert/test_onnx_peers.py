"""Models exported by the installed PyTorch, read as cells; run with -m peers."""

import jax
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.convert import onnx
from tests.helpers.onnx_models import max_error

# Warnings of PyTorch's exporters.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

SIZES = {"batch": 2, "time": 5}


def exported(path, module, axes, *, dynamo):
    """Save a module with sizes that are not fixed, and return an input and its results."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    x = torch.randn(*(SIZES[name] for name in axes.values()), 3)
    form = (
        {"dynamic_shapes": ({k: torch.export.Dim(v) for k, v in axes.items()},)}
        if dynamo
        else {"dynamic_axes": {"x": axes}, "opset_version": 17}
    )
    names = {"input_names": ["x"], "output_names": ["ys", "h"]}
    torch.onnx.export(module, (x,), path, dynamo=dynamo, **names, **form)
    with torch.no_grad():
        ys, final = module(x)
    h, *_ = final if isinstance(final, tuple) else (final,)
    return tuple(array.numpy() for array in (x, ys, h))


@pytest.mark.parametrize("dynamo", [False, True], ids=["script", "dynamo"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time", "batch"])
def test_a_module_of_pytorch(tmp_path, kind, layers, both, batch_first, dynamo):
    if (kind, dynamo) == ("RNN", True):
        pytest.skip("this exporter writes no RNN node")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    options = {"num_layers": layers, "bidirectional": both, "batch_first": batch_first}
    module = getattr(torch.nn, kind)(3, 4, **options)
    axes = dict(enumerate(SIZES if batch_first else reversed(SIZES)))
    x, ys, h = exported(tmp_path / "model.onnx", module, axes, dynamo=dynamo)
    cell, params = onnx.to_cell(tmp_path / "model.onnx")
    if batch_first:
        x, ys = x.swapaxes(0, 1), ys.swapaxes(0, 1)
    final, outputs = lj.unroll(cell, params, x)
    fields = 2 if kind == "LSTM" else 1
    assert max_error([np.stack(jax.tree.leaves(final)[::fields]), outputs], [h, ys]) < 1e-6
