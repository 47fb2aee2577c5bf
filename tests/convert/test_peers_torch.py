"""Modules of PyTorch with reparametrized weights and other settings; run with -m peers."""

import warnings

import jax
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax import convert
from tests.golden.libraries import INPUTS, H

pytestmark = pytest.mark.peers


def relative_error(module, cell, params):
    """Compare the outputs of a module in evaluation with those of a cell."""
    import torch

    xs = np.random.default_rng(1).normal(size=(6, 3, INPUTS)).astype(np.float32)
    with torch.no_grad():
        theirs = module.eval()(torch.tensor(xs))[0].numpy()
    ours = np.asarray(lj.unroll(cell, params, xs)[1])
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def weight_norm(module, name):
    from torch.nn.utils import weight_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weight_norm(module, name)


def weight_norm_of_all(module, name):
    from torch.nn.utils import weight_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weight_norm(module, name, dim=None)


def parametrized_weight_norm(module, name):
    from torch.nn.utils.parametrizations import weight_norm

    weight_norm(module, name)


def spectral_norm(module, name):
    from torch.nn.utils import spectral_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        spectral_norm(module, name)


def parametrized_spectral_norm(module, name):
    from torch.nn.utils.parametrizations import spectral_norm

    spectral_norm(module, name)


def pruning(module, name):
    from torch.nn.utils import prune

    prune.random_unstructured(module, name, 0.5)


REPARAMETRIZED = (
    weight_norm,
    weight_norm_of_all,
    parametrized_weight_norm,
    spectral_norm,
    parametrized_spectral_norm,
    pruning,
)


@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single:UserWarning")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("reparametrize", REPARAMETRIZED, ids=lambda each: each.__name__)
def test_reparametrized_weights(kind, reparametrize):
    import torch

    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(INPUTS, H, num_layers=2)
    for name in ("weight_ih_l0", "weight_hh_l1"):
        reparametrize(module, name)
    for parameter in module.parameters():  # so that no norm is as it was at the start
        parameter.data += 0.1 * torch.randn_like(parameter)
    cell, params = convert.torch.to_cell(module)
    # Both compute the weights from their parts in float32.
    assert relative_error(module, cell, params) < 2e-6
    assert relative_error(module, cell, convert.torch.to_params(module.state_dict())) < 2e-6


@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single:UserWarning")
def test_orthogonal_weights_are_refused():
    import torch

    module = torch.nn.LSTM(INPUTS, H)
    torch.nn.utils.parametrizations.orthogonal(module, "weight_hh_l0")
    with pytest.raises(ValueError, match="which is no weight norm"):
        convert.torch.to_params(module)
    torch.nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert relative_error(module, *convert.torch.to_cell(module)) < 1e-6


def test_modules_tell_their_nonlinearity():
    import torch

    model = torch.nn.Sequential()
    model.add_module("encoder", torch.nn.RNN(INPUTS, H, nonlinearity="relu", bidirectional=True))
    cell, params = convert.torch.to_cell(model, prefix="encoder.")
    assert cell.forward.activation is jax.nn.relu
    assert relative_error(model.encoder, cell, params) < 1e-6
    with pytest.raises(ValueError, match="call to_cell"):
        convert.torch.to_params(model, prefix="encoder.")
    cell, _ = convert.torch.to_cell(torch.nn.RNNCell(INPUTS, H, nonlinearity="relu"))
    assert cell == lj.TanhRNN(INPUTS, H, activation=jax.nn.relu)
