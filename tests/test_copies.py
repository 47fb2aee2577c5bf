"""A cell equals its copies, in every form, so that they compile and run as the cell does."""

import copy
import dataclasses
import functools
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax import initializers
from lstm_jax.copies import import_name
from tests.helpers.every import EVERY


@jax.jit
def softsign(x):
    return x / (1 + jnp.abs(x))


WITH_FUNCTIONS = {
    "relu": lj.LSTM(3, 4, activation=jax.nn.relu, gate_activation=jax.nn.hard_sigmoid),
    "ufunc": lj.TanhRNN(3, 4, activation=jnp.positive),
    "plain": lj.GRU(3, 4, activation=jax.nn.gelu),
    "lax": lj.GRU(3, 4, activation=jax.lax.tanh, gate_activation=jax.lax.logistic),
    "compiled here": lj.MinLSTM(3, 4, activation=softsign),
    "chrono": lj.LSTM(3, 4, bias_init=initializers.Chrono(100)),
    "per gate": lj.LSTM(3, 4, kernel_init=initializers.per_gate(jax.nn.initializers.zeros)),
    "policy": lj.SLSTM(3, 4, dtype=lj.Policy(compute="bfloat16")),
    "deep": lj.stack(lj.residual(lj.TanhRNN(3, 3, activation=jax.nn.relu)), lj.SLSTM(3, 4)),
}
CELLS = EVERY | WITH_FUNCTIONS
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_every_copy_is_equal(cell):
    copies = [
        copy.copy(cell),
        copy.deepcopy(cell),
        copy.deepcopy({"cell": [cell]})["cell"][0],
        dataclasses.replace(cell),
        *(pickle.loads(pickle.dumps(cell, protocol)) for protocol in PROTOCOLS),
    ]
    for copied in copies:
        assert copied == cell
        assert hash(copied) == hash(cell)
        assert type(copied) is type(cell)
        assert repr(copied) == repr(cell)
        assert vars(copied).keys() == vars(cell).keys()


def test_a_copy_runs_by_the_same_backend_and_is_not_traced_again():
    cell, xs = lj.LSTM(3, 4), jnp.ones((5, 2, 3))
    params = cell.init(jax.random.key(0))
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(cell, params):
        traces.append(cell)
        return lj.unroll(cell, params, xs)[1]

    for copied in (cell, copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert lj.explain(copied, xs).implementations == lj.explain(cell, xs).implementations
        run(copied, params)
    assert len(traces) == 1


def draw_in_another_process(cell):
    """What a spawned process does: it has to read the cell, and to run it."""
    return cell, cell.init(jax.random.key(0)).bias.sum().item()


@pytest.mark.slow
def test_a_spawned_process():
    cell = lj.LSTM(3, 4, activation=softsign)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there, total = pool.apply(draw_in_another_process, (cell,))
    assert there == cell
    assert total == 4.0


def test_a_pickle_is_read_by_another_process(tmp_path):
    """It names public modules, and holds no addresses of this process."""
    cell = WITH_FUNCTIONS["relu"]
    (tmp_path / "cell.pickle").write_bytes(pickle.dumps(cell))
    assert b"jax.nn" in pickle.dumps(cell)
    assert b"_src" not in pickle.dumps(cell)
    program = (
        "import pickle, sys, jax, lstm_jax as lj; cell = pickle.load(open(sys.argv[1], 'rb'));"
        " assert cell == lj.LSTM(3, 4, activation=jax.nn.relu,"
        " gate_activation=jax.nn.hard_sigmoid)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cell.pickle")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize(
    "function",
    [lambda x: x, jax.jit(lambda x: x), jax.nn.initializers.orthogonal(), functools.partial(abs)],
)
def test_functions_without_a_name_stay_themselves_in_deep_copies(function):
    cell = lj.LSTM(3, 4, activation=function)
    assert copy.deepcopy(cell) == cell
    deep = lj.stack(cell, lj.zoneout(lj.LSTM(4, 4, kernel_init=initializers.PerGate(function))))
    assert copy.deepcopy(deep) == deep


@pytest.mark.parametrize("function", [lambda x: x, jax.jit(lambda x: x)])
def test_a_function_without_a_name_does_not_pickle(function):
    assert import_name(function) is None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(lj.LSTM(3, 4, activation=function))


class Named:
    """A step function that is an object of a user's class."""

    def __init__(self):
        self.calls = []

    def __call__(self, x):
        return x


@dataclasses.dataclass(frozen=True, repr=False)
class Scaled(lj.Transform):
    """A transform of a user."""

    cell: lj.Cell
    function: Named


def test_a_transform_of_a_user():
    function = Named()
    cell = Scaled(lj.LSTM(3, 4), function)
    assert copy.deepcopy(cell) == cell
    (copied,) = pickle.loads(pickle.dumps([cell]))
    assert copied.cell == cell.cell


def test_graph_definitions_of_nnx():
    from flax import nnx

    from lstm_jax import nnx as layers

    layer = layers.Recurrent(lj.stack(lj.LSTM(3, 4), lj.GRU(4, 4)), rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(layer)
    for copied in (copy.deepcopy(graphdef), pickle.loads(pickle.dumps(graphdef))):
        assert copied == graphdef
        assert hash(copied) == hash(graphdef)
    xs = jnp.ones((2, 5, 3))
    again = nnx.merge(copy.deepcopy(graphdef), state)
    assert jnp.array_equal(again(xs), layer(xs))
    assert nnx.split(copy.deepcopy(layer))[0] == graphdef


def test_a_partial_of_a_compiled_function_pickles_by_its_parts():
    leaky = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
    cell = lj.GRU(3, 4, activation=leaky)
    assert copy.deepcopy(cell) == cell
    copied = pickle.loads(pickle.dumps(cell))
    assert copied.activation.func is leaky.func
    assert copied.activation.keywords == {"negative_slope": 0.2}
    assert copied == dataclasses.replace(cell, activation=copied.activation)
