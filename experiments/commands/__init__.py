"""The commands of the command line: each parses its words, then calls a function."""
