"""What each target's tensors look like to the programs that load them."""

from xinqiao.convert.layouts.concerns import concerns
from xinqiao.convert.layouts.configs import config, extra_files
from xinqiao.convert.layouts.table import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout", "concerns", "config", "extra_files"]
