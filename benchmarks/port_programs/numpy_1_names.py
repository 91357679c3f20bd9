"""Names that NumPy 2 took away and that a package still uses."""

import numpy as np

np.float_, np.complex_, np.unicode_, np.float, np.int = np.float64, np.complex128, np.str_, float, int
