"""Search for good values of a config's fields, with Optuna."""
