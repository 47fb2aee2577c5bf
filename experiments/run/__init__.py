"""The folder of a run: config, metrics, summary, environment, checkpoints and figures."""
