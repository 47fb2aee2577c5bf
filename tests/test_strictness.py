"""The settings of the tests are strict; a change that loosens them fails here."""

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from tests.helpers.every import EVERY, example

ROOT = Path(__file__).parent.parent


def test_warnings_are_errors():
    with pytest.raises(UserWarning):
        warnings.warn("anything", stacklevel=1)


def test_dtypes_are_never_promoted_silently():
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.ones(1, jnp.int32) + jnp.ones(1, jnp.float32)


def test_ranks_are_never_promoted_silently():
    with pytest.raises(ValueError, match="could not be broadcast"):
        jnp.ones((2, 3)) + jnp.ones(3)


@pytest.mark.parametrize("cell", EVERY.values(), ids=EVERY.keys())
def test_every_cell_and_transform_works_in_the_strict_configuration(cell):
    """With lengths, resets and random numbers, and gradients; nothing needs to be compiled."""
    params, xs = example(cell, (3, 2))
    options = {"lengths": jnp.array([3, 1]), "reset": jnp.zeros((3, 2), bool), "padding": "hold"}

    def loss(params, xs):
        results = lj.unroll(cell, params, xs, key=jax.random.key(1), return_states=True, **options)
        return sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves(results))

    types = jax.eval_shape(jax.grad(loss, argnums=(0, 1)), params, xs)
    chex.assert_trees_all_equal_shapes_and_dtypes(types, (params, xs))


def test_two_devices_are_simulated():
    assert jax.default_backend() != "cpu" or jax.device_count() == 2


def test_doctests_run():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    assert {"lstm_jax", "experiments"} <= set(options["testpaths"])


def test_make_test_lints_checks_types_and_runs_the_tests():
    planned = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for part in ("ruff check", "ruff format --check", "basedpyright", "-m pytest"):
        assert part in planned


def test_the_type_checker_finds_an_error(tmp_path):
    """That the type checker passes means nothing unless it can fail."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import lstm_jax\n\nlstm_jax.LSTM('3', 5)\n")
    result = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, str(wrong)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "reportArgumentType" in result.stdout
