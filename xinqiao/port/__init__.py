"""Rewrite CUDA-bound code so that it runs on any device, with a verdict for every CUDA-bound place."""

from xinqiao.port.dependencies import Packages
from xinqiao.port.project import check, diff, port, undo
from xinqiao.port.target import Target

__all__ = ["Packages", "Target", "check", "diff", "port", "undo"]
