"""Operators in Triton, for every chip that has a Triton compiler."""
