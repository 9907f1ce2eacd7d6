"""Kernels that run on the card, launched by ``triton.kernel``."""
