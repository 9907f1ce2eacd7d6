"""Labelled examples: MNIST in the package, other sets by name, yours by path.

    train = denseam.data.load("mnist").train
    train.visible()  # (60000, 784) float32 in [-1, 1]
    train.save("train.safetensors")  # and denseam.data.load("train.safetensors")

No images are read on import, and only the set that is asked for is fetched. ``DENSEAM_DATA`` names
the folder for fetched files, in place of the usual cache folder.
"""

from denseam.data.example import Example
from denseam.data.examples import Dataset, Examples
from denseam.data.featureset import FeatureSet
from denseam.data.imageset import ImageSet
from denseam.data.known import SetStatus, status, verify
from denseam.data.loading import load

__all__ = [
    "Dataset",
    "Example",
    "Examples",
    "FeatureSet",
    "ImageSet",
    "SetStatus",
    "load",
    "status",
    "verify",
]
