"""The command profile: where the time of a training goes."""

from pathlib import Path

from experiments.commands.overrides import first_path, parse_overrides
from experiments.errors import UserError
from lstm_jax.did_you_mean import nearest


def profile_command(arguments: list[str]) -> int:
    """``profile CONFIG [--updates N] [--out DIR] [--any.field value ...]``."""
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
