"""Operators compiled for this machine's processor."""
