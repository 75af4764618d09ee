"""Build stages, one a file: inputs with a key, and a run that writes one output."""
