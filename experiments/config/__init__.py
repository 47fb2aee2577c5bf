"""Config files: their schema, and how they are read, checked and written."""
