"""The errors and warnings that denseam raises, and nothing else.

Every message says what was given and what is wanted. Where Python has a
built-in error for the same mistake, ours is also that one, so that
``except ValueError`` keeps working.
"""

__all__ = [
    "AnswerError",
    "DataUnavailableError",
    "DenseAMError",
    "DenseAMWarning",
    "EndpointError",
    "FileFormatError",
    "InputError",
    "LostRankError",
    "MissingPackageError",
    "RunFolderError",
    "SaveError",
    "SecondDerivativeError",
]


class DenseAMError(Exception):
    """Base class of every error that denseam raises on purpose."""


class InputError(DenseAMError, ValueError):
    """An argument has the wrong shape, type, range or value."""


class MissingPackageError(DenseAMError, ImportError):
    """A package that only a part of denseam needs is not installed; says which extra brings it."""


class FileFormatError(DenseAMError, ValueError):
    """A file is truncated, garbled, or not of the kind that was asked for."""


class DataUnavailableError(DenseAMError, FileNotFoundError):
    """A data set is neither on this machine nor within reach; says where to put it."""


class SaveError(DenseAMError, OSError):
    """A file could not be written; what stood there before is untouched."""


class EndpointError(DenseAMError, OSError):
    """A classifier at a URL did not answer, or not as its protocol says."""


class AnswerError(DenseAMError, ValueError):
    """A member of a guard answered what cannot be used."""


class RunFolderError(DenseAMError):
    """A run folder, or the place of an image set, belongs to something else, or is in use."""


class LostRankError(DenseAMError, RuntimeError):
    """Another process of a job of several has died; what was finished before is on the disk."""


class SecondDerivativeError(DenseAMError, RuntimeError):
    """A derivative of a derivative was asked for; the kernels have first ones only."""


class DenseAMWarning(UserWarning):
    """Something is likely to go wrong; the message says what to change."""
