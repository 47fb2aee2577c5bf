"""The most that matrix products reach here: no LSTM made of them goes faster."""

import jax

from experiments.bench.cases import Case
from experiments.bench.jax_runner import JaxDevice, inputs
from experiments.bench.timing import Call


class Ceiling(JaxDevice):
    """A square product in JAX, as large as `Case.H` says."""

    def prepare(self, quantity: str, case: Case) -> Call:
        """Compile the product.

        Args:
          quantity: there is only one.
          case: its size.
        """
        del quantity
        a = inputs(case.B, case.H)
        product = jax.jit(jax.numpy.matmul).lower(a, a).compile()
        return lambda: jax.block_until_ready(product(a, a))
