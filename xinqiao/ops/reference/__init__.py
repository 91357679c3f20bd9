"""What each operator means: short, plain PyTorch, in float64 too. Kernels are held to it."""
