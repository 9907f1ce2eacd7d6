"""Numbers of Python, NumPy and PyTorch mean the same; everything else is refused in words."""

import fractions

import numpy as np
import pytest
import torch

from denseam.checks import choice, is_number, number, numbers, whole
from denseam.errors import InputError

WHOLE = {
    "int": 3,
    "NumPy int64": np.int64(3),
    "NumPy uint8": np.uint8(3),
    "0-d array": np.array(3),
    "tensor": torch.tensor(3),
    "uint8 tensor": torch.tensor(3, dtype=torch.uint8),
}
REAL = WHOLE | {
    "float": 3.0,
    "NumPy float64": np.float64(3),
    "NumPy float32": np.float32(3),
    "NumPy float16": np.float16(3),
    "0-d float array": np.array(3.0),
    "float tensor": torch.tensor(3.0),
    "bfloat16 tensor": torch.tensor(3.0, dtype=torch.bfloat16),
    "parameter": torch.tensor(3.0, requires_grad=True),
    "fraction": fractions.Fraction(3),
}
NO_NUMBERS = {
    "bool": True,
    "NumPy bool": np.True_,
    "0-d bool array": np.array(True),
    "bool tensor": torch.tensor(True),
    "text": "3",
    "text of NumPy": np.str_("3"),
    "None": None,
    "complex": 3 + 0j,
    "complex tensor": torch.tensor(3 + 0j),
    "list": [3],
    "array": np.array([3]),
    "vector": torch.tensor([3]),
    "empty": torch.tensor([]),
    "without values": torch.tensor(3, device="meta"),
    "span of time": np.timedelta64(3, "s"),
    "object": np.array({3: 3}),
}


@pytest.mark.parametrize("value", WHOLE.values(), ids=WHOLE)
def test_whole_numbers_of_every_library_become_ints(value):
    assert whole("count", value) == 3
    assert type(whole("count", value)) is int


@pytest.mark.parametrize("value", REAL.values(), ids=REAL)
def test_numbers_of_every_library_become_floats(value):
    assert number("eps", value, above=0) == 3
    assert type(number("eps", value)) is float
    assert is_number(value)
    assert numbers("eps", value) == [3.0]


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match=r"^count = .*: wanted a whole number >= 1$"):
        whole("count", value)
    with pytest.raises(InputError, match=r"^eps = .*: wanted a number$"):
        number("eps", value)


@pytest.mark.parametrize("value", [3.0, 2.5, np.float32(3), torch.tensor(3.0), float("nan")])
def test_a_float_is_no_whole_number(value):
    with pytest.raises(InputError, match="wanted a whole number"):
        whole("count", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, torch.tensor(torch.nan)])
def test_numbers_are_finite(value):
    with pytest.raises(InputError, match="wanted a number"):
        number("eps", value)


def test_limits_are_named():
    with pytest.raises(InputError, match=r"^label = 3: wanted a whole number >= 0 and <= 2$"):
        whole("label", 3, 0, 2)
    with pytest.raises(InputError, match=r"^seed = -1: wanted a whole number >= 0 and < 2\^32$"):
        whole("seed", -1, 0, 2**32 - 1)
    with pytest.raises(
        InputError, match=r"seed = .*: wanted a whole number >= -2\^63 and < 2\^64$"
    ):
        whole("seed", 2**64, -(2**63), 2**64 - 1)
    with pytest.raises(InputError, match=r"^eps = 0: wanted a number > 0, in visible units$"):
        number("eps", 0, above=0, unit="visible units")
    with pytest.raises(InputError, match=r"^power = 0.5: wanted a number >= 1 and <= 1e\+06$"):
        number("power", 0.5, least=1, most=1e6)
    with pytest.raises(InputError, match=r"^rate = 1: wanted a number > 0 and < 1$"):
        number("rate", 1, above=0, below=1)


def test_limits_themselves():
    assert whole("seed", 2**32 - 1, 0, 2**32 - 1) == 2**32 - 1
    assert whole("seed", np.uint64(2**64 - 1), 0, 2**64 - 1) == 2**64 - 1
    assert number("power", 1, least=1, most=1) == 1.0
    for bounds in ({"above": 1}, {"below": 1}, {"least": 1.5}, {"most": 0.5}):
        with pytest.raises(InputError):
            number("power", 1, **bounds)


def test_huge_numbers_are_refused_in_one_short_line():
    for value in (10**400, 10**5000, -(10**5000)):
        with pytest.raises(InputError, match=r"^power = .{1,100}: wanted a number >= 1$"):
            number("power", value, least=1)
    with pytest.raises(InputError, match=r"^count = .{1,100}: wanted"):
        whole("count", torch.zeros(100, 100))


@pytest.mark.parametrize(
    "values",
    [
        [0.25, 0.5], (np.float32(0.25), torch.tensor(0.5)), np.array([0.25, 0.5], dtype=np.float32),
        torch.tensor([0.25, 0.5]), iter([0.25, 0.5]),
    ],
    ids=["list", "mixed", "array", "tensor", "iterator"],
)  # fmt: skip
def test_several_numbers_come_as_people_have_them(values):
    assert numbers("eps", values, above=0) == [0.25, 0.5]


@pytest.mark.parametrize(
    "values", [[], torch.tensor([]), [0.5, "1"], "0.5", None, np.array([[0.5]]), [0.5, -1.0]]
)
def test_each_of_several_numbers_is_checked(values):
    with pytest.raises(InputError, match=r"^eps = .*: wanted"):
        numbers("eps", values, above=0)


def test_a_choice_is_one_of_the_options():
    assert choice("norm", "l2", ("l2", "linf")) == "l2"
    assert type(choice("norm", np.str_("l2"), ("l2", "linf"))) is str
    assert choice("dtype", torch.float32, (torch.float32, torch.float64)) is torch.float32
    for wrong in ("L2", None, 2, ["l2"], np.array(["l2", "linf"]), torch.ones(2)):
        with pytest.raises(
            InputError, match=r"^norm = .*: wanted 'l2', 'l1' or 'linf'(; did you mean l2\?)?$"
        ):
            choice("norm", wrong, ("l2", "l1", "linf"))
    with pytest.raises(InputError, match=r"^norm = 'l1': wanted 'l2'"):
        choice("norm", "l1", ("l2",))
