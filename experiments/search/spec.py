"""A search file: a config, what its fields are drawn from, and what a good run is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.config.file import config_tree
from experiments.config.schema import Config
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError
from experiments.run.summary import lower_is_better
from experiments.sweep.distribution import Choices, Distribution
from experiments.sweep.points import config_of
from experiments.sweep.spec import Base, check_names, read_base, read_fields, whole_number
from lstm_jax.did_you_mean import did_you_mean

PARTS = ("config", "set", "search", "metric", "direction", "trials", "sampler", "seed", "pruner")
DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "hyperband", "asha", "none")


@dataclass(frozen=True)
class SearchSpec:
    """The content of a search file.

    Attributes:
      path: the file.
      base: the config.
      fields: what every field is drawn from.
      metric: the validation metric, a mean over the seeds.
      direction: whether it is to be small or large.
      trials: the number of trials in all.
      sampler: how values are chosen.
      seed: the seed of the sampler.
      pruner: which trials are stopped early.
    """

    path: Path
    base: Base
    fields: dict[str, Distribution]
    metric: str
    direction: str
    trials: int
    sampler: str
    seed: int
    pruner: str

    def config(self, values: Mapping[str, Any]) -> Config:
        """The config of a trial with these values.

        Raises:
          UserError: if they do not fit together.
        """
        return config_of(self.base, values, f"{self.path}: search")

    def identity(self) -> str:
        """What has to be equal for two workers of one study, as JSON."""
        base = config_tree(self.config(next(self.examples())))
        fields = {
            name: {"choices": [repr(v) for v in each.values]}
            if isinstance(each, Choices)
            else asdict(each)
            for name, each in self.fields.items()
        }
        return json.dumps(
            {"config": base, "search": fields, "metric": self.metric, "direction": self.direction},
            default=str,
        )

    def examples(self) -> Iterator[dict[str, Any]]:
        """Values at the ends of all ranges and, for one field at a time, all choices."""
        first = {name: _ends(each)[0] for name, each in self.fields.items()}
        yield first
        for name, each in self.fields.items():
            for value in _ends(each)[1:]:
                yield first | {name: value}


def read_search(path: Path, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """Read a search file.

    Args:
      path: the file.
      overrides: values of the config by dotted name, set after those of the file.

    Raises:
      UserError: if the file cannot be read, or a part or a config is not as it should be.
    """
    tree = read_yaml(path)
    place = f"{path}"
    check_names(tree, PARTS, place)
    base = read_base(tree, path, overrides or {})
    fields = read_fields(tree.get("search"), f"{place}: search")
    for name in fields:
        if name in base.fixed:
            raise UserError(f"{place}: search.{name}: is set already")
    spec = SearchSpec(
        path,
        base,
        fields,
        metric="",
        direction="",
        trials=whole_number(tree.get("trials", 20), 1, f"{place}: trials"),
        sampler=_one_of(tree, "sampler", SAMPLERS, place),
        seed=whole_number(tree.get("seed", 0), 0, f"{place}: seed"),
        pruner=_one_of(tree, "pruner", PRUNERS, place),
    )
    for values in spec.examples():
        spec.config(values)
    task = spec.config(next(spec.examples())).task
    metric = tree.get("metric", task.metric)
    if not isinstance(metric, str):
        raise UserError(f"{place}: metric: must be the name of a metric; got {metric!r:.60}")
    direction = tree.get(
        "direction", DIRECTIONS[0] if lower_is_better(task, metric) else "maximize"
    )
    direction = _one_of({"direction": direction}, "direction", DIRECTIONS, place)
    return SearchSpec(**{**vars(spec), "metric": metric, "direction": direction})


def _one_of(tree: Mapping[str, Any], name: str, known: tuple[str, ...], place: str) -> str:
    value = tree.get(name, known[0])
    value = "none" if value is None else value
    if value not in known:
        hint = did_you_mean(value, known)
        message = f"{place}: {name}: must be one of {', '.join(known)}; got {value!r:.60}{hint}"
        raise UserError(message)
    return value


def _ends(distribution: Distribution) -> list[Any]:
    if isinstance(distribution, Choices):
        return [*distribution.values]
    return [distribution.low, distribution.high]
