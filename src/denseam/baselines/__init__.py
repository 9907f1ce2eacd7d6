"""The networks that the paper is compared with (section 7), with the contract of ``DenseAM``.

``ExponentialAM`` is none of the paper's: a dense associative memory with another energy function.

To add one: a subclass of ``Classifier`` with its ``kind`` and ``_scores``, named in ``NETWORKS``.
"""

from denseam.baselines.binarised import Binarised, binarise
from denseam.baselines.exponential import ExponentialAM
from denseam.baselines.nearest import Metric, NearestNeighbour
from denseam.baselines.networks import (
    ConvolutionalNetwork,
    PolynomialNetwork,
    RBFNetwork,
    ReLUNetwork,
)
from denseam.baselines.prototypes import Prototypes
from denseam.classifier import Classifier
from denseam.convolutional import ConvFrontAM, ConvolutionalAM
from denseam.model import DenseAM

__all__ = [
    "NETWORKS",
    "Binarised",
    "ConvolutionalNetwork",
    "ExponentialAM",
    "Metric",
    "NearestNeighbour",
    "PolynomialNetwork",
    "Prototypes",
    "RBFNetwork",
    "ReLUNetwork",
    "binarise",
]

NETWORKS: dict[str, type[Classifier]] = {
    network.kind: network
    for network in (
        DenseAM,
        ExponentialAM,
        ReLUNetwork,
        PolynomialNetwork,
        RBFNetwork,
        NearestNeighbour,
        Prototypes,
        ConvFrontAM,
        ConvolutionalAM,
        ConvolutionalNetwork,
    )
}
"""Every kind of network that can be saved and trained, by its name."""
