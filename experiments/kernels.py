"""Which parameters are kernels: those that weight decay and the initial scale apply to."""

import jax

from lstm_jax.types import PyTree


def are_kernels(params: PyTree) -> PyTree:
    """True for kernels, False for biases, gains, peephole weights and learned initial states.

    >>> import lstm_jax as lj
    >>> are_kernels(lj.LSTM(3, 5).init(jax.random.key(0)))
    LSTMParams(kernel=True, recurrent_kernel=True, bias=False)
    """

    def is_kernel(path: tuple[object, ...], leaf: jax.Array) -> bool:
        names = {getattr(part, "name", getattr(part, "key", None)) for part in path}
        return leaf.ndim >= 2 and not names & {"peephole", "state"}

    return jax.tree_util.tree_map_with_path(is_kernel, params)
