"""Stand-ins for layers and models of Keras, with the names and attributes that are read."""

from typing import Any, NamedTuple


def make(kind: str, **attributes: Any) -> Any:
    """Return an object of a class with this name."""
    made = type(kind, (), {})()
    vars(made).update({"name": kind.lower(), "get_weights": list, "get_config": dict} | attributes)
    return made


def cell(kind: str, weights: list[Any], **config: Any) -> Any:
    """Return a cell such as `LSTMCell`."""
    config = {"activation": "tanh", "recurrent_activation": "sigmoid"} | config
    return make(kind, get_weights=lambda: weights, get_config=lambda: config)


def layer(kind: str, weights: list[Any], *, go_backwards: bool = False, **config: Any) -> Any:
    """Return a layer such as `LSTM`."""
    return around(cell(f"{kind}Cell", weights, **config), kind, go_backwards=go_backwards)


def around(inner: Any, kind: str = "RNN", **attributes: Any) -> Any:
    """Return a layer around a cell."""
    return make(kind, cell=inner, get_weights=inner.get_weights, **attributes)


def bidirectional(forward: Any, backward: Any, merge_mode: str | None = "concat") -> Any:
    """Return a `Bidirectional` of two layers."""
    return make(
        "Bidirectional",
        forward_layer=forward,
        backward_layer=backward,
        merge_mode=merge_mode,
        get_weights=lambda: [*forward.get_weights(), *backward.get_weights()],
    )


def stacked(*cells: Any) -> Any:
    """Return `StackedRNNCells`."""
    return make("StackedRNNCells", cells=[*cells])


def sequential(*layers: Any) -> Any:
    """Return a `Sequential` model."""
    return make("Sequential", layers=[*layers])


class History(NamedTuple):
    """Where a tensor comes from."""

    operation: Any
    node_index: int
    tensor_index: int


def call(operation: Any, *inputs: Any, outputs: int = 1, **kwargs: Any) -> list[Any]:
    """Call an operation of a functional model; return its output tensors."""
    nodes = vars(operation).setdefault("_inbound_nodes", [])
    arguments = make("SymbolicArguments", kwargs=kwargs)
    nodes.append(make("Node", input_tensors=[*inputs, *kwargs.values()], arguments=arguments))
    index = len(nodes) - 1
    return [
        make("KerasTensor", _keras_history=History(operation, index, k)) for k in range(outputs)
    ]


def functional(*outputs: Any) -> Any:
    """Return a functional model with these output tensors."""
    return make("Functional", layers=[], outputs=[*outputs])


def chain(*operations: Any) -> Any:
    """Return a functional model whose operations form a chain, from an input up."""
    (tensor,) = call(make("InputLayer"))
    kwargs = {}
    for operation in operations:
        (tensor,) = call(operation, tensor, **kwargs)
        if type(operation).__name__ == "Masking":  # all layers above are called with its mask
            kwargs = {"mask": call(make("NotEqual"), tensor)[0]}
    return functional(tensor)
