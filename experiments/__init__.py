"""Training from a config file: ``python -m experiments {train,evaluate,report,list}``."""
