"""The image sets that denseam knows by name: what they are and where they lie.

Facts only; :mod:`denseam.data.fetch` acts on them. The sums of the published
files are those that torchvision and TensorFlow Datasets record (SHA-256).
``content_sha256`` is the sum of the same file uncompressed, where it is known:
Debian, for one, strips the gzip headers. For Fashion-MNIST it was taken from
Debian's package, whose files have the published sums once the name and the time
are put back into their headers. For MNIST see :mod:`denseam.data.mnist`.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from denseam.errors import InputError

__all__ = ["KNOWN", "ROLES", "KnownName", "KnownSet", "RemoteFile", "known"]

ROLES: Final = ("train-images", "train-labels", "test-images", "test-labels")
DIGITS: Final = tuple(string.digits)

KnownName = Literal["mnist", "fashion-mnist", "kmnist", "emnist-letters", "usps"]
"""The names in KNOWN, for type checkers."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its SHA-256, and that of what is in it where known."""

    name: str
    sha256: str
    content_sha256: str | None = None

    @property
    def plain_name(self) -> str:
        """The name without ``.gz`` or ``.bz2``."""
        return self.name.removesuffix(".gz").removesuffix(".bz2")


@dataclass(frozen=True)
class KnownSet:
    """An image set that can be asked for by name.

    Attributes:
        name: what :func:`denseam.data.load` takes.
        title: what people call it.
        shape: (H, W).
        n_train, n_test: how many images.
        class_names: C names.
        licence, source, citation: its terms, its home page, and its paper.
        kind: "embedded", "idx" (a file per role), "libsvm" (a file per part).
        files: the published file of each role, of "train" and "test" for libsvm.
        mirrors: base addresses, tried in this order.
        archive: where the files come inside a zip file, that zip file.
        folders: where systems put the files.
        first_label: the number that the files give to the first class.
        transposed: whether the files hold the images column by column.
    """

    name: str
    title: str
    shape: tuple[int, int]
    n_train: int
    n_test: int
    class_names: tuple[str, ...]
    licence: str
    source: str
    citation: str
    kind: Literal["embedded", "idx", "libsvm"]
    files: Mapping[str, RemoteFile]
    mirrors: tuple[str, ...] = ()
    archive: RemoteFile | None = None
    folders: tuple[str, ...] = ()
    first_label: int = 0
    transposed: bool = False


_MNIST = KnownSet(
    name="mnist",
    title="MNIST",
    shape=(28, 28),
    n_train=60_000,
    n_test=10_000,
    class_names=DIGITS,
    licence="CC BY-SA 3.0",
    source="http://yann.lecun.com/exdb/mnist/",
    citation="Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998",
    kind="embedded",
    files={},
)

_FASHION = KnownSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    shape=(28, 28),
    n_train=60_000,
    n_test=10_000,
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    licence="MIT",
    source="https://github.com/zalandoresearch/fashion-mnist",
    citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
    kind="idx",
    files={
        "train-images": RemoteFile(
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels": RemoteFile(
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "test-images": RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "test-labels": RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    folders=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
)

_KMNIST = KnownSet(
    name="kmnist",
    title="Kuzushiji-MNIST",
    shape=(28, 28),
    n_train=60_000,
    n_test=10_000,
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    licence="CC BY-SA 4.0",
    source="http://codh.rois.ac.jp/kmnist/",
    citation="T. Clanuwat et al., Deep Learning for Classical Japanese Literature, "
    "arXiv:1812.01718, 2018",
    kind="idx",
    files={
        "train-images": RemoteFile(
            "train-images-idx3-ubyte.gz",
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        "train-labels": RemoteFile(
            "train-labels-idx1-ubyte.gz",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        "test-images": RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        "test-labels": RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    },
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ),
)

_EMNIST = KnownSet(
    name="emnist-letters",
    title="EMNIST letters",
    shape=(28, 28),
    n_train=124_800,
    n_test=20_800,
    class_names=tuple(string.ascii_uppercase),
    licence="none stated by NIST; made from NIST Special Database 19",
    source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
    citation="G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST, arXiv:1702.05373, 2017",
    kind="idx",
    files={
        "train-images": RemoteFile(
            "emnist-letters-train-images-idx3-ubyte.gz",
            "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
        ),
        "train-labels": RemoteFile(
            "emnist-letters-train-labels-idx1-ubyte.gz",
            "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c",
        ),
        "test-images": RemoteFile(
            "emnist-letters-test-images-idx3-ubyte.gz",
            "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
        ),
        "test-labels": RemoteFile(
            "emnist-letters-test-labels-idx1-ubyte.gz",
            "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb",
        ),
    },
    archive=RemoteFile(
        "gzip.zip", "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
    ),
    mirrors=(
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
    ),
    first_label=1,
    transposed=True,
)

_USPS = KnownSet(
    name="usps",
    title="USPS",
    shape=(16, 16),
    n_train=7_291,
    n_test=2_007,
    class_names=DIGITS,
    licence="none stated",
    source="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
    citation="J. J. Hull, A database for handwritten text recognition research, "
    "IEEE TPAMI 16(5), 550-554, 1994",
    kind="libsvm",
    files={
        "train": RemoteFile(
            "usps.bz2", "3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f"
        ),
        "test": RemoteFile(
            "usps.t.bz2", "a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e"
        ),
    },
    mirrors=(
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
        "http://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    ),
    first_label=1,
)

KNOWN: dict[str, KnownSet] = {s.name: s for s in (_MNIST, _FASHION, _KMNIST, _EMNIST, _USPS)}


def known(name: str) -> KnownSet:
    """The set of that name.

    Raises:
        InputError: listing the names that there are.
    """
    if name not in KNOWN:
        raise InputError(f"no image set is called {name!r}; known are {', '.join(KNOWN)}")
    return KNOWN[name]
