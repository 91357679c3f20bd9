"""Measure a real device: which shapes, how their kernels are called, with which clock, in how much time."""
