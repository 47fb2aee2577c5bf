"""The command profile: where the time of a training goes."""

from pathlib import Path

from experiments.commands.overrides import first_path, parse_overrides
from experiments.errors import UserError
from lstm_jax.did_you_mean import nearest

USAGE = """\
usage: python -m experiments profile CONFIG [--updates N] [--out DIR] [--any.field value ...]

Compile the training of a config, run it for some updates, and print where the time goes: tracing,
compilation, host and device; the speed, the share of the matrix-product ceiling, and memory.
Nothing is trained on: there is no workdir.

  --updates N   updates to time (default 50); fewer make a smaller trace
  --out DIR     folder of profile.json and the profiler trace (default profiles/ and the config's
                name)

example: python -m experiments profile configs/adding.yaml --updates 20 --model.hidden_size 256
The trace opens at https://ui.perfetto.dev; TensorBoard reads the same folder."""


def profile_command(arguments: list[str]) -> int:
    """``profile CONFIG [--updates N] [--out DIR] [--any.field value ...]``."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    what = "a config file, such as configs/adding.yaml"
    path, rest = first_path(arguments, "profile", "CONFIG", what)
    overrides = parse_overrides(rest, as_text=("out",))
    updates = overrides.pop("updates", None)
    if updates is not None and (
        not isinstance(updates, int) or isinstance(updates, bool) or updates < 1
    ):
        raise UserError(f"--updates: must be a number of updates from 1 on; got {updates!r}")
    out = Path(overrides.pop("out", f"profiles/{path.stem}"))
    for name in overrides:
        if "." not in name and (near := nearest(name, ["updates", "out"], cutoff=0.7)):
            raise UserError(f"--{name}: unknown option; did you mean --{near}?")
    # Imported here, so that usage errors do not wait for JAX.
    import jax

    from experiments.config.file import load_config
    from experiments.profiling.measure import UPDATES, profile_config
    from experiments.profiling.text import render

    config = load_config(path, overrides)
    # A cache on disk would hide what compilation takes.
    cached = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        profile = profile_config(config, UPDATES if updates is None else updates, out)
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
    print(render(profile))
    print(f"\n{out / 'profile.json'} has all numbers")
    if profile["trace"] is not None:
        print(f"{profile['trace']}\nopens at https://ui.perfetto.dev")
    return 0
