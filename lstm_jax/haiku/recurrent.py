"""A Haiku module that unrolls a cell over a sequence."""

from typing import Any, Unpack

import haiku as hk
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.haiku.params import module_params, step_key
from lstm_jax.layers import CellOrMaker, cell_for, unroll_layer, with_checked_names
from lstm_jax.layers.carries import carry_like
from lstm_jax.options import OptionArgs, Options, takes_keywords_of
from lstm_jax.types import PyTree


class Recurrent(hk.Module):
    """Any cell over a sequence, by `lstm_jax.unroll`.

    In place of `hk.dynamic_unroll` of a core, it takes lengths, masks and resets, and uses the
    backends. Outputs of a reversed sequence stay in the order of the inputs, as in Haiku.

    Args:
      cell: a cell, or a function from the number of input features to one, such as
        ``functools.partial(lj.LSTM, hidden_size=128)``.
      time_major: whether inputs are ``[T, ..., I]``, as in Haiku's loops, not ``[..., T, I]``.
      reverse: unroll from the last step to the first.
      deterministic: whether no random numbers are drawn. Otherwise, a cell that draws them needs
        the ``rng`` of ``apply``.
      feature_axes: for a function as `cell`, the number of feature axes of an input. With several,
        it is called with their shape, such as ``(8, 8, 3)`` for `lstm_jax.ConvLSTM`.
      name: name of the module.
      **options: the fields of `lstm_jax.Options`.

    Raises:
      TypeError, ValueError: when an option does not exist or has no such value.

    Reference:
      Hennigan, Cai, Norman, Martens & Babuschkin (2020), *Haiku: Sonnet for JAX*.

    >>> import jax, jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> model = hk.transform(lambda xs, lengths: Recurrent(lj.GRU(3, 5))(xs, seq_lengths=lengths))
    >>> xs, lengths = jnp.ones((7, 2, 3)), jnp.array([7, 4])
    >>> params = model.init(jax.random.key(0), xs, lengths)
    >>> outputs, state = model.apply(params, None, xs, lengths)
    >>> outputs.shape, bool((outputs[4:, 1] == 0).all())
    ((7, 2, 5), True)
    """

    # Haiku's own repr refuses an unknown argument before the nearest one can be named.
    AUTO_REPR = False

    @takes_keywords_of(Options)
    def __init__(
        self,
        cell: CellOrMaker,
        time_major: bool = True,
        reverse: bool = False,
        deterministic: bool = False,
        feature_axes: int = 1,
        name: str | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        super().__init__(name=name)
        self.cell = cell
        self.time_major = time_major
        self.reverse = reverse
        self.deterministic = deterministic
        self.feature_axes = feature_axes
        function = type(self).__name__
        self.options = Options.from_args(function, options).checked(function)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cell!r})"

    def __call__(
        self,
        inputs: PyTree,
        initial_state: PyTree = None,
        *,
        seq_lengths: Int[ArrayLike, "..."] | None = None,
        mask: Bool[ArrayLike, "T ..."] | None = None,
        reset: Bool[ArrayLike, "T ..."] | None = None,
        start: int | Int[Array, ""] = 0,
    ) -> tuple[Float[Array, "T ... H"], Any]:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[T, ..., I]``; without `time_major` ``[..., T, I]``, and so masks and resets.
          initial_state: the state before the first step, which may have another form, such as
            `hk.LSTMState`; the cell's own when not given.
          seq_lengths: number of steps of every row ``[...]``.
          mask: true at valid steps ``[T, ...]``, in place of `seq_lengths`.
          reset: true where a row is reset ``[T, ...]``.
          start: index of the first step, on which random numbers depend.

        Returns:
          ``(outputs, state)``: outputs ``[T, ..., H]`` and the state after the last step, in
          Haiku's order. The state has the form of `initial_state`.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        function = type(self).__name__
        cell = cell_for(function, self.cell, inputs, self.feature_axes)
        state, outputs = unroll_layer(
            function,
            cell,
            module_params(cell, function),
            inputs,
            initial_carry=initial_state,
            carry_name="initial_state",
            seq_lengths=seq_lengths,
            time_major=self.time_major,
            reverse=self.reverse,
            keep_order=True,
            mask=mask,
            reset=reset,
            key=step_key(cell, self.deterministic),
            start=start,
            options=self.options,
        )
        if initial_state is not None:
            state = carry_like(state, initial_state, "hc")
        return outputs, state


with_checked_names(Recurrent)
