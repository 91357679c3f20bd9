"""Rewrite CUDA-bound code so that it runs on any device, with a verdict for every CUDA-bound place."""

from xinqiao.port.project import check, diff, port, undo

__all__ = ["check", "diff", "port", "undo"]
