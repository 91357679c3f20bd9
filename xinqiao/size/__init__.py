"""A model on a chip: what it is, whether it fits, how fast it runs."""
