"""The nearest valid name, for messages about a name that does not exist."""

import difflib
from collections.abc import Iterable


def nearest(name: object, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid name that was most likely meant, or None where none is near.

    Args:
      name: the given name.
      names: the valid names.
      cutoff: how similar the two must be, from 0 to 1.

    Returns:
      One of `names`, or None.

    >>> nearest("adm", ["adam", "rmsprop"])
    'adam'
    """
    close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(
    name: object, names: Iterable[str], *, cutoff: float = 0.6, quoted: bool = False
) -> str:
    """The end of a message: the nearest valid name, or nothing where none is near.

    Args:
      name: the given name.
      names: the valid names.
      cutoff: how similar the two must be, from 0 to 1.
      quoted: whether the name stands in quotes.

    Returns:
      ``"; did you mean adam?"``, or an empty string.

    >>> did_you_mean("adm", ["adam", "rmsprop"])
    '; did you mean adam?'
    """
    close = nearest(name, names, cutoff=cutoff)
    return "" if close is None else f"; did you mean {repr(close) if quoted else close}?"


# Names of one meaning in this library and in others: in a set, any of them may be meant by another.
_SAME_MEANING = (
    {"input_size", "in_features", "input_features", "input_dim", "in_dim", "in_channels"}
    | {"n_in", "num_inputs", "input_channels", "idim", "input_shape", "in_size", "n_features"},
    {"hidden_size", "features", "hidden_features", "hidden_dim", "hidden_units", "hidden", "units"}
    | {"num_units", "n_hidden", "num_hidden", "out_features", "output_size", "hidden_channels"}
    | {"out_channels", "output_channels", "filters", "d_model", "dim", "size", "width"},
    {"projection_size", "proj_size", "num_proj", "projection_dim", "recurrent_projection_size"},
    {"kernel_init", "kernel_initializer", "w_init", "w_i_init", "weight_init", "init"},
    {"recurrent_kernel_init", "recurrent_initializer", "recurrent_init", "w_h_init"},
    {"bias_init", "bias_initializer", "b_init"},
    {"dtype", "param_dtype", "dtype_policy", "compute_dtype"},
    {
        "gate_activation",
        "gate_fn",
        "recurrent_activation",
        "gate_activation_fn",
        "inner_activation",
    },
    {"activation", "activation_fn", "nonlinearity", "act_fn"},
    {"kernel_dilation", "dilation", "dilation_rate", "rhs_dilation", "dilations"},
    {"kernel_size", "kernel_shape", "filter_size", "window"},
    {"recurrent_kernel_size", "hidden_kernel_size", "state_kernel_size"},
    {"num_heads", "heads", "n_heads", "nhead", "n_head"},
    {"key_dim", "qk_dim", "key_size", "dim_key"},
    {"peephole", "use_peepholes", "use_peephole", "peepholes"},
    {"reset_after", "linear_before_reset"},
    {"num_layers", "layers", "n_layers", "depth"},
    {"merge", "merge_fn", "merge_mode"},
    {"tied", "tie_weights", "share_weights", "shared"},
    {"return_carry", "return_state", "return_states"},
    {"reverse", "go_backwards"},
)


def meant(name: str, names: Iterable[str]) -> str | None:
    """The valid name of the same meaning, or the nearest one; None where there is neither.

    >>> meant("num_units", ["input_size", "hidden_size"])
    'hidden_size'
    """
    names = list(names)
    for same in _SAME_MEANING:
        if name in same and (found := same.intersection(names)):
            return min(found, key=names.index)
    return nearest(name, names)


def unknown_arguments(
    function: str, given: Iterable[str], names: Iterable[str]
) -> TypeError | None:
    """The error for keyword arguments that a function does not have, or None where it has all.

    Args:
      function: the public function or class to name.
      given: the names given.
      names: the valid names, in the order in which they are to be listed.

    Returns:
      An error, to be raised.

    >>> unknown_arguments("GRU", ["in_features", "units"], ["input_size", "hidden_size"])
    TypeError('GRU: there is no argument in_features, units; did you mean input_size, hidden_size?')
    """
    names = list(names)
    unknown = [name for name in given if name not in names]
    if not unknown:
        return None
    likely = dict.fromkeys(filter(None, (meant(name, names) for name in unknown)))
    hint = f"did you mean {', '.join(likely)}?" if likely else f"there are {', '.join(names)}"
    return TypeError(f"{function}: there is no argument {', '.join(unknown)}; {hint}")
