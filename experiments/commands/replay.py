"""``python -m experiments replay``: the update at which a seed diverged, computed again."""

from experiments.commands.overrides import first_path
from experiments.errors import UserError
from experiments.run.bundle import Bundle
from experiments.run.summary import describe_task
from experiments.training.divergence import Divergence
from experiments.training.memory import memory_errors
from experiments.training.replay import Replay, replay

DIFFERENCES = (
    "Other versions, another device or backend round differently; divergence.json has those of the"
    " training"
)


def replay_command(words: list[str]) -> int:
    """``replay DIR``; the exit code is 1 if an update is finite this time."""
    path, rest = first_path(words, "replay", "DIR", "a folder in WORKDIR/diverged, or a workdir")
    if rest:
        raise UserError(f"replay: unexpected argument {rest[0]!r}")
    code = 0
    for bundle in Bundle.found(path):
        config, event = bundle.config(), bundle.event()
        print(f"{bundle.path}: {describe_task(config.task)}, seed {config.seed}")
        with memory_errors(config, "nothing was changed"):
            result = replay(bundle)
        print(_table(result), end="\n\n")
        then = Divergence(event["update"], event["metric"], event["value"], event.get("group"))
        if result.reproduced:
            print(f"reproduced: in the training, {then}")
        else:
            code = 1
            print(f"not reproduced: in the training, {then}; here all is finite. {DIFFERENCES}")
    return code


def _table(result: Replay) -> str:
    rows = [("loss", f"{result.loss:.6g}")]
    rows += [
        (f"gradient norm, {name}", f"{norm:.6g}") for name, norm in result.gradient_norms.items()
    ]
    rows.append(("first updated parameter not finite", result.updated or "none"))
    step = result.first_step
    rows.append(("first step not finite", f"t = {step[0]}, in {step[1]}" if step else "none"))
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"  {label:<{width}}  {value}" for label, value in rows)
