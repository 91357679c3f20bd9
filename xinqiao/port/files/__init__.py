"""Files that are not Python: every CUDA-bound place gets a verdict; the rest of the file stays byte for byte."""

from xinqiao.port.files.dispatch import is_looked_at, port_file

__all__ = ["is_looked_at", "port_file"]
