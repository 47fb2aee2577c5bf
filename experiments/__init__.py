"""Experiments from config files: ``python -m experiments {train,evaluate,report,bench,list}``."""
