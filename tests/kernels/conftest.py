"""Triton's kernels: in its interpreter where there is no card, on the card where there is one.

The interpreter takes a thousand times as long as a kernel. There, tests over many powers run a few
of them; all run on a card.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from denseam.kernels import choice

ON_CARD = torch.cuda.is_available()

INTERPRETED_POWERS = (1, 3.5, 30, 99.5)
# 86 evaluations each; the analytic gradients are compared with the oracle's, which pass this test.
TOO_LONG = ("test_gradients_are_those_of_finite_differences",)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in [i for i in items if Path(__file__).parent in i.path.parents]:
        values = item.callspec.params if hasattr(item, "callspec") else {}
        if values.get("backend") != "triton":
            continue
        if ON_CARD:
            item.add_marker(pytest.mark.gpu)
        elif item.originalname in TOO_LONG or values.get("power", 30) not in INTERPRETED_POWERS:
            items.remove(item)
            config.hook.pytest_deselected(items=[item])


@pytest.fixture(autouse=True, scope="package")
def kernels_on_the_card() -> Iterator[None]:
    """Tests hand over tensors on the CPU; the kernels of a card get copies there."""
    if not ON_CARD or find_spec("triton") is None:
        yield
        return
    from denseam.kernels.triton import kernel

    from .oncard import OnCard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "TritonKernel", OnCard)
        _forget_kernels()
        yield
    _forget_kernels()  # tests of other packages mean the card's own


def _forget_kernels() -> None:
    choice.by_name.cache_clear()
    choice._choose.cache_clear()
