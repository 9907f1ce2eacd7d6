"""Certificates: radii within which no image changes its label, each with a proof.

    fields      a model as affine fields, with the rounding errors of its dtype
    bounds      the table: which bound serves which model
    pairwise, distance, dual    the limit n -> infinity: linear inequalities, least distances
    networks    ReLU and polynomial networks, for comparison
    verifier    every bound as an inequality in float64, rounded outward
    votes       that of sums of powers
    entrance    ``certify`` and ``verify``; result: what they return and take

docs/certificates.md has the theorem and the proof of each bound.
"""

from denseam.certificates.bounds import BOUNDS
from denseam.certificates.entrance import certify, verify
from denseam.certificates.result import Certificates

__all__ = ["BOUNDS", "Certificates", "certify", "verify"]
