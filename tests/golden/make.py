"""Make the golden vectors: weights, inputs and outputs of other libraries.

Run it from the root of the repository, with PyTorch, Keras, Haiku, Equinox and Flax installed:

    KERAS_BACKEND=torch python -m tests.golden.make

The JAX backend of Keras 3.15 cannot make float64 vectors, as it always computes tanh in float32.
Random weights are float32; the float64 vectors use the same values.
"""

import collections
import importlib.metadata
import json
from pathlib import Path

import jax
import numpy as np

from tests.golden.libraries import FLOAT32_ONLY, INPUTS, LIBRARIES, H

HERE = Path(__file__).parent
PACKAGES = {
    "PyTorch": "torch",
    "Keras": "keras",
    "Flax": "flax",
    "Haiku": "dm-haiku",
    "Equinox": "equinox",
    "JAX": "jax",
}
T, B = 5, 2


def flatten(tree, prefix=""):
    """Return the arrays of nested dicts and lists by path."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    else:
        return {prefix[:-1]: np.asarray(tree)}
    by_path = {}
    for name, value in items:
        by_path |= flatten(value, f"{prefix}{name}/")
    return by_path


def make(library):
    """Return the vectors of a library by path, which starts with the case."""
    random = np.random.default_rng(0)
    arrays = {}
    for case, build in LIBRARIES[library].items():
        weights = jax.tree.map(
            lambda a: random.normal(0, 0.6, a.shape).astype(np.float32),
            build(np.float32).weights(),
        )
        xs = random.normal(size=(T, B, INPUTS)).astype(np.float32)
        arrays |= {f"{case}/xs": xs}
        arrays |= {f"{case}/weights/{name}": a for name, a in flatten(weights).items()}
        float32_only = (library, case) in FLOAT32_ONLY
        for dtype in (np.float32, np.float64)[: 1 if float32_only else 2]:
            layer = build(dtype)
            layer.load(jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), weights))
            outputs, states = layer.apply(xs.astype(dtype))
            for name, array in ({"outputs": outputs} | dict(enumerate(states))).items():
                assert array.dtype == dtype, (library, case, name, array.dtype)
                arrays[f"{case}/{np.dtype(dtype).name}/{name}"] = array
    return arrays


def save_torch_files(vectors):
    """Save files with `torch.save`: valid ones with known values, and some to be refused."""
    import torch

    def weights(case):
        """Return the weights of a case for `load_state_dict`."""
        prefix = f"{case}/weights/"
        return {
            name.removeprefix(prefix): torch.tensor(array)
            for name, array in vectors.items()
            if name.startswith(prefix)
        }

    lstm, encoder, head = (
        torch.nn.LSTM(INPUTS, H),
        torch.nn.LSTM(INPUTS, H, 2),
        torch.nn.Linear(2, 1),
    )
    lstm.load_state_dict(weights("one"))
    encoder.load_state_dict(weights("two_layers"))
    head.load_state_dict({"weight": torch.tensor([[0.5, -2.0]]), "bias": torch.tensor([1.0])})
    torch.save(lstm.state_dict(), HERE / "lstm.pt")
    torch.save(lstm, HERE / "module.pt")
    torch.save(lstm.state_dict(), HERE / "before_1_6.pt", _use_new_zipfile_serialization=False)
    integers = (torch.int8, torch.int16, torch.int32, torch.int64)
    model = torch.nn.Sequential(collections.OrderedDict(encoder=encoder, head=head)).bfloat16()
    checkpoint = {
        "model": model.state_dict(),
        "parameters": list(head.parameters()),
        "turned": torch.arange(6.0, dtype=torch.float64).reshape(2, 3).T[1:],
        "counts": [torch.tensor([1, -2]).to(each) for each in integers],
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "none": torch.zeros(0, 3),
        "complex": torch.tensor([1 + 2j]),
        "mask": torch.tensor([True, False]),
        "epoch": 3,
        "rate": 0.5,
        "name": ("lstm", None, True),
    }
    torch.save(checkpoint, HERE / "checkpoint.pt")
    torch.save(checkpoint, HERE / "protocol_4.pt", pickle_protocol=4)


if __name__ == "__main__":
    with jax.enable_x64(True):
        for library in LIBRARIES:
            vectors = make(library)
            np.savez_compressed(HERE / f"{library}.npz", **vectors)
            if library == "torch":
                save_torch_files(vectors)
    versions = {name: importlib.metadata.version(package) for name, package in PACKAGES.items()}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
