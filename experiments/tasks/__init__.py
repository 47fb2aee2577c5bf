"""Tasks, one a file: the data and what counts as solved."""
