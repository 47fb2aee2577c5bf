"""The ceiling: the rate of matrix products in JAX, which limits every LSTM."""

import jax

from experiments.bench.cases import Case
from experiments.bench.jax_runner import JaxDevice, inputs
from experiments.bench.timing import Call


class Ceiling(JaxDevice):
    """A product of two matrices ``[B, H]``, with B = H."""

    def prepare(self, quantity: str, case: Case) -> Call:
        """Compile the product.

        Args:
          quantity: ignored; the product is the only quantity.
          case: the sizes.
        """
        del quantity
        return matrix_product(case.H)


def matrix_product(size: int) -> Call:
    """Compile a product of two matrices ``[size, size]``, which takes ``2 size^3`` operations."""
    a = inputs(size, size)
    product = jax.jit(jax.numpy.matmul).lower(a, a).compile()
    return lambda: jax.block_until_ready(product(a, a))
