"""What each target's tensors look like to the programs that load them."""

from xinqiao.convert.layouts.configs import config, extra_files, loaders
from xinqiao.convert.layouts.table import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout", "config", "extra_files", "loaders"]
