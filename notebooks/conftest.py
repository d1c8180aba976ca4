"""nbval runs the notebooks in the kernel that executes the book's chapters."""

import nbval.kernel

from sublim_utils.book.kernel import KernelManager

nbval.kernel.KernelManager = KernelManager
