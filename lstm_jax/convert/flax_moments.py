"""Which trees of a checkpoint are parameters, and which an optimizer keeps for them: its moments.

Flax's convolutional LSTM adds 1 to the forget gate in every call, so its parameters and the moments
of these are converted differently. The containers around a tree tell which it is:

    ``params``, ``..._params``       parameters
    a state of optax                 moments, by its type or, once restored as a dict, its names
    ``opt_state``                    moments
    other tuples, lists and dicts    parameters
    ``opt``, ``mu``, ``ema``, ...    unclear without one of the above: these may be modules too
    an unknown NamedTuple            unclear, and so is what is in one list with a state of optax
"""

from collections.abc import Mapping
from typing import Any, Literal

Role = Literal["checkpoint", "list", "params", "optimizer", "unclear"]
"""What contains a tree: the whole checkpoint or a list in it, parameters, an optimizer's state."""

_STATES = {
    frozenset(names.split())
    for names in (
        "count mu nu", "count mu nu nu_max", "count mu", "count ema", "count grad_acc",
        "count mu nu hessian_fn_state", "count mu ns_coeffs", "count count_m2 m1 m2 nu", "t m n",
        "m v n g t", "mu nu", "nu", "trace", "e_g e_x", "sum_of_squares", "step_sizes prev_updates",
        "count params updates diff_params_memory diff_updates_memory weights_memory",
        "mini_step gradient_step inner_opt_state acc_grads skip_state",
        "inner_state", "inner_states", "step inner_state", "count hyperparams inner_state",
        "count hyperparams hyperparams_states inner_state", "fast_state steps_since_sync",
        "notfinite_count last_finite total_notfinite inner_state",
        "init_particles cumulative_gradients scale subgradients reward",
        "exp_avg exp_avg_sq grad_sum estim_lr numerator_weighted count",
        "exp_avg exp_avg_sq grad_sum params0 estim_lr numerator_weighted count",
        "exp_avg exp_avg_sq barf gamma lb count", "exp_avg barf gamma lb count",
        "is_init_step init_params max_dist sum_sq_norm_grads",
        "init_params weighted_sq_norm_grads estim_sq_dist", "count grad_sum_sq s x0",
        "base_optimizer_state count r m v s x0", "steps_since_sync opt_state adv_state cache",
        "b1 weight_sum step_count max_lr base_optimizer_state z",
    )
}  # fmt: skip
"""The fields of optax's states, without those that have no tree of the parameters."""

_COPIES = {"params", "params0", "init_params", "init_particles", "x0", "z", "cache"} | {
    "fast", "slow"
}  # fmt: skip
"""Fields in which optax keeps copies of the parameters themselves."""

_SHORT = {frozenset(names.split()) for names in ("mu nu", "nu", "trace")}
"""States whose names alone may also be those of modules."""

_OPT_STATE = "opt_state"
_UNCLEAR = {"opt", "optim", "optimizer", "optimizer_state", "opt_states"} | {
    "mu", "nu", "nu_max", "trace", "ema", "acc_grads", "grad_acc", "exp_avg", "exp_avg_sq",
    "grad_sum", "momentum", "moments", "grads", "gradients", "updates",
}  # fmt: skip


def role_below(role: Role, container: Any, name: str) -> Role:
    """Return what a value of a container belongs to.

    Args:
      role: what the container belongs to.
      container: a mapping, a NamedTuple, a tuple, a list, or a node of any other type.
      name: the key, field or index of the value.

    Returns:
      The role of the value.

    >>> import optax
    >>> state = optax.adam(0.1).init({"w": 1.0})
    >>> role_below("checkpoint", [{}, {}], "0"), role_below("list", state[0], "mu")
    ('list', 'optimizer')
    >>> role_below("list", state[0]._asdict(), "mu"), role_below("checkpoint", {"mu": {}}, "mu")
    ('optimizer', 'unclear')
    """
    if role == "params":
        return role
    parts = _parts(container)
    if _is_of_optax(container) or (parts is None and is_state(role, container)):
        return "params" if name in _COPIES else "optimizer"
    if role == "optimizer" or name == _OPT_STATE:
        return "optimizer"
    if name.endswith("params"):
        return "params"
    if name in _UNCLEAR or hasattr(container, "_fields"):
        return "unclear"
    if role == "checkpoint" and parts is not None:
        # A neighbour of a state may be one too, of an optimizer that is not in optax.
        return "unclear" if any(is_state("list", part) for part in parts) else "list"
    return role


def is_state(role: Role, container: Any) -> bool:
    """Whether a container is a state of optax by its names, or a dict with a list of such states.

    Args:
      role: what the container belongs to.
      container: any value.

    Returns:
      Whether it is; names that modules may have too decide only inside of a list or an optimizer.

    >>> is_state("checkpoint", {"0": {"trace": {}}, "1": {}}), is_state("checkpoint", {"trace": {}})
    (True, False)
    """
    if role == "params":
        return False
    parts = _parts(container)
    if parts is not None:
        inner: Role = "list" if role == "checkpoint" else role
        return any(is_state(inner, part) for part in parts)
    names = _names(container)
    return names in _STATES and (role != "checkpoint" or names not in _SHORT)


def _names(container: Any) -> frozenset[str]:
    if isinstance(container, Mapping):
        return frozenset(map(str, container))
    return frozenset(getattr(container, "_fields", ()))


def _is_of_optax(container: Any) -> bool:
    """Whether it is a NamedTuple of optax."""
    return hasattr(container, "_fields") and type(container).__module__.split(".")[0] == "optax"


def _parts(container: Any) -> list[Any] | None:
    """The values of a tuple or a list, also of one that was restored as a dict; None for others."""
    if isinstance(container, Mapping):
        numbered = container and all(str(name).isdigit() for name in container)
        return [*container.values()] if numbered else None
    is_list = isinstance(container, tuple | list) and not hasattr(container, "_fields")
    return [*container] if is_list else None
