"""Claims of the literature on retrieval, and the rules that judge them.

NIPS16 is arXiv 1606.01164; Hertz, Krogh and Palmer, *Introduction to the Theory of Neural
Computation*, 1991; Ramsauer et al., arXiv 2008.02217; Santos et al., arXiv 2402.13725; Hoover et
al., arXiv 2506.10801. A claim without a number in the text is judged in words.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from denseam.study.claims import Claim, Verdict
from denseam.study.findings import Row

_Judge = Callable[[Sequence[Row]], Verdict]


def _if(holds: Callable[[Sequence[float]], bool]) -> _Judge:
    """Judge by the values of the rows."""

    def judge(rows: Sequence[Row]) -> Verdict:
        return "reproduced" if holds([row.value for row in rows]) else "not reproduced"

    return judge


def _falls(values: Sequence[float]) -> bool:
    return all(a > b for a, b in pairwise(values))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "classical", "Hertz et al., 2.2", "A Hopfield network holds 0.138 N random patterns",
        "0.138, at 0.36 % of wrong bits", ("scaling/n2/alpha",),
        "alpha_2 lies between 0.13 and 0.15", _if(lambda v: 0.13 <= v[0] <= 0.15), "",
        ("scaling/n2/exponent",),
    ),
    Claim(
        "transition", "Hertz et al., 2.5", "Beyond 0.138 N memory breaks down at once",
        "overlap 0.97, then 0.35", ("transition/below", "transition/above"),
        "the mean final overlap is above 0.95 at 0.12 N and below 0.8 at 0.2 N",
        _if(lambda v: v[0] > 0.95 and v[1] < 0.8), "A few hundred neurons round the transition.",
    ),
    *(
        Claim(
            f"scaling-{n}", "NIPS16, § 2", f"At n = {n} the capacity grows as N^{n - 1}",
            f"{n - 1}",
            (f"scaling/n{n}/exponent",), "the exponent lies within 5 % of it",
            _if(lambda v, n=n: abs(v[0] - (n - 1)) <= 0.05 * (n - 1)), "",  # type: ignore[misc]
            (f"scaling/n{n}/alpha",),
        )
        for n in (2, 3, 4)
    ),
    Claim(
        "without-errors", "NIPS16, Eq. 6", "N^(n-1) / (2 (2n-3)!! ln N) patterns are stored "
        "without errors", "a law", tuple(f"scaling/n{n}/clean" for n in (2, 3, 4)),
        "at least 75 % of so many patterns have no wrong bit, for every n and N",
        _if(lambda v: min(v) >= 0.75), "",
    ),
    Claim(
        "xor", "NIPS16, § 3", "n = 2 cannot complete XOR, n = 3 can", "in words",
        ("xor/n2/right", "xor/n3/right"), "n = 2 completes no line and n = 3 all four",
        _if(lambda v: v[0] == 0 and v[1] == 1), "", ("xor/n1/right",),
    ),
    Claim(
        "prototypes", "NIPS16, § 5", "At small n many memories add up to a decision, features; at "
        "n = 30 a single one makes it, a prototype", "over 8000 of 10,000 images at n = 30",
        tuple(f"prototypes/n{n}" for n in (2, 3, 20, 30)),
        "one memory contributes strongly to over 80 % of the images at n = 30, and to more than at "
        "n = 2 and 3", _if(lambda v: v[3] > 0.8 and max(v[:2]) < v[3]),
    ),
    Claim(
        "exponential", "Ramsauer et al., Theorem 3", "Log-sum-exp holds exponentially many "
        "patterns on a sphere", "c^((d-1)/4), c >= 1.37", ("exponential/growth",),
        "log K grows by at least log(1.37) / 4 = 0.079 for each dimension",
        _if(lambda v: v[0] >= 0.0787), "",
    ),
    Claim(
        "metastable", "Ramsauer et al., § 2", "As beta rises, fixed points turn from an average of "
        "all patterns to averages of some and to single ones", "in words",
        ("metastable/0.001", "metastable/0.03", "metastable/1"),
        "the median number of memories at a fixed point falls, from over 100 to 1",
        _if(lambda v: _falls(v) and v[0] > 100 and v[-1] == 1),
    ),
    Claim(
        "log-sum-relu", "Hoover et al., § 3", "Log-sum-ReLU retrieves all patterns exactly while "
        "other minima emerge", "in words",
        ("log-sum-relu/1.02/exact", "log-sum-relu/1.02/emergent"),
        "where the ball of each pattern holds no other, all stay to the bit, and there is a "
        "minimum that is none of them", _if(lambda v: v[0] == 1 and v[1] >= 1),
    ),
    Claim(
        "entmax", "Santos et al., § 3", "Sparse updates retrieve exactly, softmax does not",
        "in words", ("entmax/sparsemax/0.3", "entmax/entmax-1.5/0.3", "entmax/softmax/0.1"),
        "at beta = 0.3 sparsemax and entmax return over 90 % of the digits to the bit; softmax, at "
        "0.1, fewer than 1 %", _if(lambda v: v[0] > 0.9 and v[1] > 0.9 and v[2] < 0.01), "",
        ("entmax/softmax/0.3", "entmax/sparsemax/0.1"),
    ),
    Claim(
        "halves", "Ramsauer et al., Fig. 1", "Half-covered pictures come back", "a picture",
        ("halves/n30/all", "halves/exponential/all"),
        "at least 99 % of the pixels of stored MNIST digits are of the right class, whichever half "
        "is covered", _if(lambda v: min(v) >= 0.99), "",
        ("halves/n30/left", "halves/exponential/left"),
    ),
    Claim(
        "editing", "this package", "Forgetting a memory changes the decisions that rest on it "
        "alone", "no paper's", ("editing/own", "editing/others", "editing/back"),
        "all probes of removed digits change and come back, and under 5 % of the others do",
        _if(lambda v: v[0] == 1 and v[1] < 0.05 and v[2] == 1),
    ),
)  # fmt: skip
