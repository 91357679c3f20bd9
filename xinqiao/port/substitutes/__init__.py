"""Plain PyTorch with the meaning of functions that CUDA-only packages have, for devices without them."""
