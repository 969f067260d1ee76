"""Ideas that two or more models share, one a file. Nothing here knows a model."""
