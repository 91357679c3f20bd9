"""Modules that a port writes into the ported project. Nothing in Xinqiao imports them."""
