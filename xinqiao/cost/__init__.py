"""Seconds, FLOPs and bytes of one operator on one chip."""
