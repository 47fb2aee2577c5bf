"""The runners of this library's layers for Flax, which call `unroll`."""

from typing import Any, cast

import jax

from experiments.bench.cases import Case
from experiments.bench.jax_runner import Network, inputs
from experiments.bench.unroll_runner import UnrollRunner


class Layer(UnrollRunner):
    """A Flax layer."""

    packages = (*UnrollRunner.packages, "flax")

    @property
    def implementation(self) -> None:
        """None: `unroll` selects the backend."""


class Linen(Layer):
    """`lstm_jax.linen`."""

    def network(self, case: Case) -> Network:
        """The layer, time first."""
        from lstm_jax.linen import LSTM

        layer = LSTM(case.H, time_major=True, return_carry=True)
        xs = inputs(case.T, case.B, case.I)

        def apply(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            final, outputs = cast(Any, layer.apply(params, xs))
            return final.h, outputs

        return layer.init(jax.random.key(0), xs), xs, apply


class NNX(Layer):
    """`lstm_jax.nnx`."""

    def network(self, case: Case) -> Network:
        """The layer, time first."""
        from flax import nnx

        from lstm_jax.nnx import LSTM

        layer = LSTM(case.I, case.H, time_major=True, return_carry=True, rngs=nnx.Rngs(0))
        graph, params, rest = nnx.split(layer, nnx.Param, ...)

        def apply(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            final, outputs = nnx.merge(graph, params, rest)(xs)
            return final.h, outputs

        return params, inputs(case.T, case.B, case.I), apply
