"""An array of a library that is neither JAX nor NumPy, and what errors say of it."""

import numpy as np

CONVERT = "convert it by jnp.asarray or jnp.from_dlpack"


class Foreign:
    """An array of another library."""

    shape, dtype = (7, 7, 3), "foreign.float32"

    def __array__(self, dtype=None, copy=None):
        return np.zeros(self.shape, np.float32)


Foreign.__module__ = "foreign.arrays"
