"""Number formats, stated in plain PyTorch: what every code means, and which code a number becomes.

elements   one row a format: its values, and the nearest of them
blocks     numbers in blocks that share a scale
scales     how a scale is chosen and stored
panel      the reference of the compiled kernels in xinqiao.native.codec
"""
