"""The runners of the peers in JAX; each imports its library when it is used."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from experiments.bench.cases import Case
from experiments.bench.jax_runner import CellStep, JaxRunner, Network, inputs

# A type checker may not find the libraries: they are optional.
# pyright: reportMissingImports=false


def zeros(case: Case) -> jax.Array:
    """An initial ``h`` or ``c``.

    Args:
      case: the sizes.
    """
    return jnp.zeros((case.B, case.H), jnp.float32)


class Flax(JaxRunner):
    """Flax's linen."""

    packages = (*JaxRunner.packages, "flax")

    def network(self, case: Case) -> Network:
        """An `nn.RNN`, time first."""
        from flax import linen as nn

        rnn = nn.RNN(nn.OptimizedLSTMCell(case.H), time_major=True, return_carry=True)
        xs = inputs(case.T, case.B, case.I)

        def apply(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            (_, h), outputs = cast(Any, rnn.apply(params, xs))
            return h, outputs

        return rnn.init(jax.random.key(0), xs), xs, apply

    def cell(self, case: Case) -> CellStep:
        """The cell's `apply`."""
        from flax import linen as nn

        cell, state, x = (
            nn.OptimizedLSTMCell(case.H),
            (zeros(case), zeros(case)),
            inputs(case.B, case.I),
        )
        params = cell.init(jax.random.key(0), state, x)
        return params, state, x, lambda params, state, x: cell.apply(params, state, x)[0]


class FlaxNNX(JaxRunner):
    """Flax's NNX."""

    packages = Flax.packages

    def network(self, case: Case) -> Network:
        """An `nnx.RNN`, time first."""
        from flax import nnx

        cell = nnx.OptimizedLSTMCell(case.I, case.H, rngs=nnx.Rngs(0))
        rnn = nnx.RNN(cell, time_major=True, return_carry=True)
        graph, params, rest = nnx.split(rnn, nnx.Param, ...)

        def apply(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            # Without a carry, the RNN draws one from its own stream, which fails under jax.jit.
            carry = (zeros(case), zeros(case))
            (_, h), outputs = cast(Any, nnx.merge(graph, params, rest)(xs, initial_carry=carry))
            return h, outputs

        return params, inputs(case.T, case.B, case.I), apply


class Haiku(JaxRunner):
    """DeepMind's Haiku."""

    packages = (*JaxRunner.packages, "dm-haiku")

    def network(self, case: Case) -> Network:
        """The core under `hk.dynamic_unroll`, time first."""
        import haiku as hk

        def layer(xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            core = hk.LSTM(case.H)
            outputs, state = hk.dynamic_unroll(core, xs, core.initial_state(case.B))
            return cast(Any, state).hidden, cast(Any, outputs)

        network = hk.without_apply_rng(hk.transform(layer))
        xs = inputs(case.T, case.B, case.I)
        return network.init(jax.random.key(0), xs), xs, network.apply

    def cell(self, case: Case) -> CellStep:
        """The core for one step."""
        import haiku as hk

        core = hk.without_apply_rng(hk.transform(lambda state, x: hk.LSTM(case.H)(x, state)[1]))
        state, x = hk.LSTMState(zeros(case), zeros(case)), inputs(case.B, case.I)
        return core.init(jax.random.key(0), state, x), state, x, core.apply


class Equinox(JaxRunner):
    """Equinox."""

    packages = (*JaxRunner.packages, "equinox")

    def network(self, case: Case) -> Network:
        """The cell in a scan, as in Equinox's documentation, with a batch."""
        cell, _, _, step = self.cell(case)

        def apply(cell: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            def body(state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
                state = step(cell, state, x)
                return state, state[0]

            (h, _), outputs = jax.lax.scan(body, (zeros(case), zeros(case)), xs)
            return h, outputs

        return cell, inputs(case.T, case.B, case.I), apply

    def cell(self, case: Case) -> CellStep:
        """The cell under `vmap`, for a batch."""
        import equinox as eqx

        cell = eqx.nn.LSTMCell(case.I, case.H, key=jax.random.key(0))

        def step(cell: Any, state: Any, x: jax.Array) -> Any:
            return jax.vmap(cell)(x, state)

        return cell, (zeros(case), zeros(case)), inputs(case.B, case.I), step


class Keras(JaxRunner):
    """Keras on its JAX backend."""

    packages = (*JaxRunner.packages, "keras")

    def network(self, case: Case) -> Network:
        """The layer, batch first: Keras has no other order."""
        import keras

        layer = keras.layers.LSTM(case.H, return_sequences=True, return_state=True)
        layer.build((case.B, case.T, case.I))

        def apply(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            (outputs, h, _), _ = layer.stateless_call(params, non_trainable, xs)
            return h, outputs

        params = [variable.value for variable in layer.trainable_variables]
        non_trainable = [variable.value for variable in layer.non_trainable_variables]
        return params, inputs(case.B, case.T, case.I), apply

    def cell(self, case: Case) -> CellStep:
        """The layer's cell."""
        import keras

        cell = keras.layers.LSTMCell(case.H)
        cell.build((case.B, case.I))

        def step(params: Any, state: Any, x: jax.Array) -> Any:
            return cell.stateless_call(params, non_trainable, x, state)[0][1]

        params = [variable.value for variable in cell.trainable_variables]
        non_trainable = [variable.value for variable in cell.non_trainable_variables]
        return params, [zeros(case), zeros(case)], inputs(case.B, case.I), step
