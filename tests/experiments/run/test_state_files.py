"""Arrays in the files of a checkpoint: every kind comes back bit for bit, on any devices."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors import safe_open

from experiments.errors import UserError
from experiments.run.safetensors_file import DTYPES, file_chunks, read_file
from experiments.run.state_files import (
    named_leaves,
    owned_tensors,
    restored,
    saved_leaves,
)
from experiments.training.train_step import TrainState
from tests.helpers.toy_runs import leaves_equal


def written(states, process=0, processes=1):
    return b"".join(bytes(c) for c in file_chunks(*owned_tensors(states, process, processes)))


def read(like, *files):
    return restored(like, saved_leaves([read_file(file) for file in files]), "here")


def round_trip(states, like=None):
    return read(states if like is None else like, written(states))


@pytest.mark.parametrize("name", list(DTYPES))
def test_every_dtype_and_shape_comes_back_bit_for_bit(name):
    dtype = DTYPES[name]
    bits = np.random.default_rng(0).integers(0, 256, 24 * dtype.itemsize, np.uint8)
    if name == "BOOL":
        bits %= 2
    array = bits.view(dtype)
    tree = {
        "matrix": array.reshape(4, 6), "scalar": array[0].reshape(()), "none": array[:0],
        "fortran": np.asfortranarray(array.reshape(4, 6)), "strided": array[::2],
    }  # fmt: skip
    got = round_trip(tree)
    assert leaves_equal(got, tree)
    assert {k: leaf.shape for k, leaf in got.items()} == {k: v.shape for k, v in tree.items()}


def test_states_with_keys_and_empty_parts_come_back(x64):
    params = {
        "kernel": jnp.linspace(0, 1, 6, dtype=jnp.bfloat16).reshape(2, 3),
        "count": jnp.array(3), "wide": jnp.array([1 / 3], jnp.float64),
    }  # fmt: skip
    states = {
        "train": TrainState(params, optax.chain(optax.identity(), optax.adam(1e-3)).init(params),
                            jnp.array(5, jnp.int32)),
        "keys": jax.random.split(jax.random.key(1), 3), "rbg": jax.random.key(2, impl="rbg"),
        "python": [7, 0.5, True], "empty": ((), None, optax.EmptyState()),
    }  # fmt: skip
    got = round_trip(states)
    assert jax.tree.structure(got) == jax.tree.structure(states)
    assert got["python"] == [7, 0.5, True]
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(states), strict=True):
        assert type(a) is type(b)
        if jnp.issubdtype(jnp.asarray(a).dtype, jax.dtypes.prng_key):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert leaves_equal(jnp.asarray(a), jnp.asarray(b))
    shapes = jax.eval_shape(lambda: {k: v for k, v in states.items() if k != "python"})
    assert leaves_equal(
        jax.tree.leaves(round_trip({k: states[k] for k in shapes}, shapes)["train"]),
        jax.tree.leaves(states["train"]),
    )


def test_the_package_safetensors_reads_the_file_by_names_of_the_tree(tmp_path):
    params = {"cell": {"kernel": jnp.ones((2, 3), jnp.bfloat16), "bias": jnp.arange(3.0)}}
    state = TrainState(params, optax.adam(1e-3).init(params), jnp.array(0, jnp.int32))
    path = tmp_path / "state.safetensors"
    path.write_bytes(written(state))
    with safe_open(path, "np") as file:
        names = set(file.keys())
        np.testing.assert_array_equal(file.get_tensor("params/cell/bias"), [0, 1, 2])
        assert file.get_tensor("params/cell/kernel").dtype == ml_dtypes.bfloat16
    assert {"params/cell/kernel", "params/cell/bias", "update"} <= names
    assert "opt_state/layers_0/mu/cell/kernel" in names


def test_what_differs_from_the_saved_state_is_named():
    state = {"cell": {"kernel": np.zeros((2, 3), np.float32)}, "count": np.array(0)}
    cases = {
        "it has no cell/kernal; did you mean cell/kernel?":
            {"cell": {"kernal": np.zeros((2, 3), np.float32)}, "count": np.array(0)},
        "there is no count here": {"cell": state["cell"]},
        "cell/kernel has shape [2, 3], not [2, 4]":
            {"cell": {"kernel": np.zeros((2, 4), np.float32)}, "count": np.array(0)},
        "cell/kernel has dtype float32, not bfloat16":
            {"cell": {"kernel": jnp.zeros((2, 3), jnp.bfloat16)}, "count": np.array(0)},
        "count is no random key": {"cell": state["cell"], "count": jax.random.key(0)},
    }  # fmt: skip
    for message, like in cases.items():
        with pytest.raises(UserError) as caught:
            round_trip(state, like)
        assert str(caught.value) == f"here: holds another model or optimizer: {message}"


def test_other_keys_are_refused():
    with pytest.raises(UserError, match=r"key has dtype key<rbg>, not key<fry>"):
        round_trip({"key": jax.random.key(0, impl="rbg")}, {"key": jax.random.key(0)})
    with pytest.raises(UserError, match="key is a random key"):
        round_trip({"key": jax.random.key(0)}, {"key": np.zeros(2, np.uint32)})


def test_leaves_of_one_name_or_of_a_dtype_without_a_name_are_errors():
    with pytest.raises(ValueError, match="two parts of the state are called 'a/b'"):
        named_leaves({"a": {"b": 1}, "a/b": 2})
    with pytest.raises(ValueError, match="x: a checkpoint holds no complex128"):
        written({"x": np.zeros(2, np.complex128)})


def sharded(array, spec):
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    return jax.device_put(array, NamedSharding(mesh, spec))


@pytest.mark.parametrize(
    "spec", [PartitionSpec("data"), PartitionSpec(None, "data"), PartitionSpec()]
)
def test_one_device_restores_what_two_saved_and_the_other_way_round(spec):
    array = jnp.arange(24.0).reshape(4, 6)
    keys = jax.random.split(jax.random.key(0), 4)
    on_two = {"kernel": sharded(array, spec), "keys": sharded(keys, PartitionSpec("data"))}
    on_one = {"kernel": array, "keys": keys}
    assert written(on_two) == written(on_one)
    for like in (
        on_two,
        jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), on_two),
    ):
        got = round_trip(on_one, like)
        assert got["kernel"].sharding == on_two["kernel"].sharding
        assert got["keys"].sharding == on_two["keys"].sharding
        np.testing.assert_array_equal(got["kernel"], array)
        assert (jax.random.key_data(got["keys"]) == jax.random.key_data(keys)).all()
    got = round_trip(on_two, on_one)
    assert got["kernel"].sharding == array.sharding
    assert not got["kernel"].committed


class FakeShard:
    def __init__(self, array, index, replica_id):
        self.index, self.replica_id, self.data = index, replica_id, array[index]


class PartOfArray:
    """An array of four or eight processes, as one sees it: four parts, each held once or twice."""

    is_fully_addressable = False

    def __init__(self, array, process):
        self.shape, self.dtype = array.shape, array.dtype
        i, j = divmod(process % 4, 2)
        rows, columns = (size // 2 for size in array.shape)
        index = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
        self.addressable_shards = [FakeShard(array, index, process // 4)]


@pytest.mark.parametrize("processes", [4, 8])
def test_parts_that_processes_wrote_are_put_together(processes):
    array = jnp.arange(48.0).reshape(8, 6)
    files = []
    for process in range(processes):
        state = {"kernel": PartOfArray(array, process), "count": np.array(3)}
        files.append(written(state, process, processes))
    names = [set(read_file(file)[0]) for file in files]
    assert names[0] == {"kernel[0:4,0:3]", "count"}
    assert names[3] == {"kernel[4:8,3:6]"}
    if processes == 8:
        assert names[7] == set()
    like = {"kernel": jnp.zeros((8, 6)), "count": np.array(0)}
    np.testing.assert_array_equal(read(like, *files)["kernel"], array)
    spread = {
        "kernel": sharded(jnp.zeros((8, 6)), PartitionSpec(None, "data")),
        "count": np.array(0),
    }
    np.testing.assert_array_equal(read(spread, *files)["kernel"], array)
    with pytest.raises(ValueError, match="kernel: the files do not have all of it"):
        read(like, *files[:3])
