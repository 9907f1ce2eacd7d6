"""The paper's claims, and the rules that judge them by the rows of a study.

Values are those of the paper's text (Neural Computation 30(12), 2018) and of NIPS16, its
predecessor. A verdict follows from the rows by the rule of the claim, which the report gives in
words. Where the paper has a number, the rule is about that number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from denseam.study.findings import Row

__all__ = ["CLAIMS", "Claim", "Verdict", "judged"]

Verdict = Literal["reproduced", "better", "not reproduced", "cannot be compared"]
_SMALL, _LARGE = ("n2", "n3"), ("n20", "n30")
_ALL = (*_SMALL, *_LARGE)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    id: str
    where: str  # in the paper
    claim: str
    paper: str  # its value, in words
    rows: tuple[str, ...]  # ids of the rows that judge it
    rule: str  # in words: when it counts as reproduced
    judge: Callable[[Sequence[Row]], Verdict] | None = None  # None: cannot be compared
    differs: str = ""  # why, or what was tried, if it is not reproduced
    beside: tuple[str, ...] = ()  # ids of rows that are shown, not judged


def judged(claims: Sequence[Claim], rows: Mapping[str, Row], *, comparable: bool) -> list[Any]:
    """Return the claims as JSON values, each with its verdict; see ``results``."""
    return [_judged(claim, rows, comparable=comparable) for claim in claims]


def _judged(claim: Claim, rows: Mapping[str, Row], *, comparable: bool) -> dict[str, Any]:
    measured = [rows[id_] for id_ in claim.rows if id_ in rows]
    note = f"Counts as reproduced when {claim.rule}." if claim.rule else ""
    verdict: Verdict = "cannot be compared"
    if claim.judge is None:
        note = claim.differs
    elif not comparable:
        note = "The paper's numbers are for MNIST."
    elif len(measured) < len(claim.rows):
        note = "Not measured here: it needs the models n = 2, 3, 20 and 30, and all stages."
    else:
        verdict = claim.judge(measured)
        if verdict == "not reproduced" and claim.differs:
            note = f"{claim.differs} {note}"
    return {
        "id": claim.id, "where": claim.where, "claim": claim.claim, "paper": claim.paper,
        "rows": [row.id for row in measured],
        "beside": [id_ for id_ in claim.beside if id_ in rows],
        "verdict": verdict, "note": note,
    }  # fmt: skip


# ---- rules -----------------------------------------------------------------------------------


def _at_most(paper: float) -> Callable[[Sequence[Row]], Verdict]:
    """Ask for at most the paper's error; reproduced when the interval reaches it."""

    def judge(rows: Sequence[Row]) -> Verdict:
        (row,) = rows
        if row.value <= paper:
            return "better"
        return "reproduced" if row.low is not None and row.low <= paper else "not reproduced"

    return judge


def _all(
    holds: Callable[[float], bool], better: Callable[[float], bool] | None = None
) -> Callable[[Sequence[Row]], Verdict]:
    """Ask that every value holds; better where the top of every interval holds another test."""

    def judge(rows: Sequence[Row]) -> Verdict:
        tops = [row.value if row.high is None else row.high for row in rows]
        if better is not None and all(map(better, tops)):
            return "better"
        return "reproduced" if all(holds(row.value) for row in rows) else "not reproduced"

    return judge


def _first_half_above(rows: Sequence[Row]) -> Verdict:
    """Ask that every value of the first half lies above every value of the second."""
    half = len(rows) // 2
    least = min(row.value for row in rows[:half])
    most = max(row.value for row in rows[half:])
    return "reproduced" if least > most else "not reproduced"


def _both_first_halves_above(rows: Sequence[Row]) -> Verdict:
    """Ask the same of both halves of the rows."""
    half = len(rows) // 2
    verdicts = {_first_half_above(rows[:half]), _first_half_above(rows[half:])}
    return "reproduced" if verdicts == {"reproduced"} else "not reproduced"


def _similar(rows: Sequence[Row]) -> Verdict:
    """Ask that the first half lies within 15 points of the second, value by value."""
    half = len(rows) // 2
    pairs = zip(rows[:half], rows[half:], strict=True)
    close = all(abs(here.value - there.value) <= 0.15 for here, there in pairs)
    return "reproduced" if close else "not reproduced"


def _rises(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value lies below the second, and the second below all others."""
    first, second, *others = (row.value for row in rows)
    return "reproduced" if first < second < min(others) else "not reproduced"


def _first_above_all(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value is the largest."""
    first, *others = (row.value for row in rows)
    return "reproduced" if first > max(others) else "not reproduced"


def _each_above_its_next(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value of every pair is the larger one."""
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "reproduced" if all(a.value > b.value for a, b in pairs) else "not reproduced"


def _near(paper: float, fraction: float) -> Callable[[Sequence[Row]], Verdict]:
    return _all(lambda value: abs(value - paper) <= fraction * paper)


def _falls(rows: Sequence[Row]) -> Verdict:
    """Ask that the least certain images have the larger error, model by model."""
    pairs = zip(rows[::2], rows[1::2], strict=True)
    clear = all(
        unsure.low is not None and sure.high is not None and unsure.low > sure.high
        for unsure, sure in pairs
    )
    return "reproduced" if clear else "not reproduced"


# ---- the paper -------------------------------------------------------------------------------

_ERRORS = {"n2": 0.0151, "n3": 0.0144, "n20": 0.0161, "n30": 0.0180}
_BETAS = {"n2": 4.7, "n3": 4.6, "n20": 4.0, "n30": 26.0}


def _label(name: str) -> str:
    return f"n = {name[1:]}"


def _networks(what: str, *names: str) -> tuple[str, ...]:
    return tuple(f"networks/{what}/{name}" for name in names)


def _sign(method: str, head: str, names: Sequence[str], eps: str, more: str = "") -> list[str]:
    return [f"sign/{method}/{head}/{name}/{eps}{more}" for name in names]


CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            f"error-{name}", "§ 2", f"Test error of {_label(name)}", f"{100 * error:.2f} %",
            (f"errors/{name}",),
            "the paper's error lies in the interval; better, when ours is not above it",
            _at_most(error),
            "Trained for fewer epochs than the paper's 3000 (see the models).",
            (f"errors/{name}/mean",),
        )
        for name, error in _ERRORS.items()
    ),
    Claim(
        "memories", "Fig. 2", "Memories are features at small n and look like digits at large n",
        "a picture", tuple(f"memories/{name}/likeness" for name in (*_LARGE, *_SMALL)),
        "memories of n = 20 and 30 resemble some training image more (median correlation) than "
        "those of n = 2 and 3", _first_half_above,
    ),
    Claim(
        "one-vote", "NIPS16", "At n = 30 many memories vote for one class only", "over 40 %",
        ("memories/n30/one-vote",), "it is over 40 %", _all(lambda value: value > 0.4),
        "Nearly every memory has small positive components next to its large one. If only "
        "components above 0.99 count as votes, and only memories that are ever active, far more "
        "memories vote for one class (not judged).",
        ("memories/n30/one-firm-vote", "memories/n30/dead"),
    ),
    Claim(
        "one-contributor", "NIPS16",
        "At n = 30 one memory decides: no second one adds 0.9 of the largest contribution",
        "over 8000 of 10,000 images", ("memories/n30/one-contributor",), "it is over 80 %",
        _all(lambda value: value > 0.8),
    ),
    Claim(
        "rubbish-looks", "Fig. 3", "Rubbish images are speckle at n = 2 and 3, readable digits at "
        "n = 20 and 30", "a picture",
        tuple(f"rubbish/{name}/noise-0.1/likeness" for name in (*_LARGE, *_SMALL)),
        "those of n = 20 and 30 resemble some training image more (mean correlation) than those "
        "of n = 2 and 3", _first_half_above,
    ),
    Claim(
        "crossing", "Fig. 4", "Descending the objective of the second choice crosses the boundary",
        "a picture", tuple(f"boundary/{name}/crossed" for name in _ALL),
        "99 % of the images do, checked in float64", _all(lambda value: value >= 0.99),
    ),
    Claim(
        "transfer-own", "Fig. 5", "Boundary images fool the model that they were made against",
        "about 99 % errors", tuple(f"transfer/{name}/{name}" for name in _ALL),
        "at least 98 % are errors", _all(lambda value: value >= 0.98),
    ),
    Claim(
        "transfer-up", "Fig. 5", "Boundary images of n = 2 and 3 do not fool n = 30",
        "3 % errors, 97 % still right", tuple(f"transfer/{name}/n30" for name in _SMALL),
        "at most 5 % are errors; better, when whole intervals are at or below 3 %",
        _all(lambda value: value <= 0.05, lambda value: value <= 0.03),
    ),
    Claim(
        "transfer-down", "Fig. 5", "Boundary images of n = 30 do fool n = 2 and 3",
        "they transfer (a picture)", tuple(f"transfer/n30/{name}" for name in _SMALL),
        "at least 25 % are errors", _all(lambda value: value >= 0.25),
    ),
    Claim(
        "pair", "§ 5", "A large-n memory guards a more accurate, vulnerable model against attacks "
        "and junk", "a rule, in words",
        (
            *(f"guard/confidence/rubbish-{name}/rejected" for name in _SMALL),
            *(f"guard/confidence/boundary-{a}-{b}/noticed" for a in _SMALL for b in _SMALL),
        ),
        "the paper's Z, with 1 % of clean images set aside, sets aside at least 95 % of the "
        "rubbish of n = 2 and 3, and at least 95 % of their boundary images that fool n = 2 or 3 "
        "are set aside, or marked because the two models disagree. By the paper's rule a marked "
        "image keeps the label of the model that it fools",
        _all(lambda value: value >= 0.95),
        "Images made against the guarded model itself are noticed most. The exception are a few "
        "hundred images of n = 3 that also fool n = 2: they lie between classes for the large-n "
        "memory, too.",
        ("guard/confidence/clean/rejected", "guard/profile/rubbish-n30/rejected"),
    ),
    *(
        Claim(
            f"beta-{name}", "§ 5.1", f"beta_sm of {_label(name)}: mean confidence = accuracy",
            f"{beta:g}", (f"confidence/{name}/beta_sm",), "it is within a quarter of the paper's",
            _near(beta, 0.25),
            "beta_sm depends on how far Y has saturated, and so on T and on the length of "
            "training, of which the paper gives ranges only.",
        )
        for name, beta in _BETAS.items()
    ),
    Claim(
        "error-falls", "Fig. 6", "The more confident a model is, the fewer errors it makes",
        "falls as confidence rises", tuple(
            f"confidence/{name}/own/{end}" for name in _ALL for end in ("unsure", "sure")
        ),
        "for every model the error at confidences below 0.5 is above the error at 0.9 and more, "
        "and the intervals do not overlap", _falls,
    ),
    Claim(
        "rubbish-own", "Fig. 7", "n = 2 is confident about its own rubbish", "98.5 %",
        ("rubbish-transfer/3.2/n2/n2",), "it is at least 95 % at beta_sm = 3.2",
        _all(lambda value: value >= 0.95),
    ),
    Claim(
        "rubbish-up", "Fig. 7", "Rubbish of n = 2 and 3 does not fool n = 20 and 30",
        "about 10 % confidence",
        tuple(f"rubbish-transfer/3.2/{a}/{b}" for a in _SMALL for b in _LARGE),
        "it is at most 15 % at beta_sm = 3.2", _all(lambda value: value <= 0.15),
    ),
    Claim(
        "rubbish-down", "Fig. 7", "Rubbish of n = 30 is taken for digits by every model",
        "no loss of confidence", tuple(f"rubbish-transfer/3.2/n30/{name}" for name in _ALL),
        "it is at least 85 % for every model at beta_sm = 3.2",
        _all(lambda value: value >= 0.85),
        "The terms of the nine wrong classes can push a run away from all memories, towards images "
        "to which no memory responds much (not judged: the images that reached their class). This "
        "happens most in models of n = 30 with many dead memories, whose first training steps were "
        "larger.",
        ("rubbish/n30/noise-0.1/reached", "rubbish-transfer/noise-0.316/n30/n30"),
    ),
    Claim(
        "sign-slower", "Fig. 8", "Errors under sign-of-gradient steps grow more slowly at large n",
        "a picture",
        tuple(
            id_
            for head in ("tanh", "log_energy")
            for id_ in _sign("fgsm", head, (*_SMALL, *_LARGE), "0.3")
        ),
        "at eps = 0.3 the errors of n = 2 and 3 are above those of n = 20 and 30, also with "
        "gradients of the log-energy, which no tanh can hide (the paper does not show them)",
        _both_first_halves_above, "", tuple(_sign("fgsm", "tanh-float32", _ALL, "0.3")),
    ),
    Claim(
        "sign-sure-small", "§ 6", "n = 2 and 3 stay confident about their errors", "above 90 % "
        "at eps = 0.5", tuple(_sign("fgsm", "tanh", _SMALL, "0.5", "/confidence")),
        "the mean confidence on errors is at least 90 %", _all(lambda value: value >= 0.9),
    ),
    Claim(
        "sign-sure-large", "§ 6", "n = 20 and 30 are not confident about their errors",
        "from about 70 % at eps = 0 to 17 % at 0.3",
        tuple(_sign("fgsm", "tanh", _LARGE, "0.3", "/confidence")),
        "the mean confidence on errors is at most 25 % at eps = 0.3; at eps = 0 it is not judged",
        _all(lambda value: value <= 0.25), "",
        tuple(_sign("fgsm", "tanh", _LARGE, "0", "/confidence")),
    ),
    *(
        Claim(
            f"sign-{method}", "§ 6", f"{words} gives very similar results", "in words",
            tuple(
                id_
                for steps in (method, "fgsm-few")
                for id_ in _sign(steps, "tanh", _ALL, "0.3")
            ),
            "at eps = 0.3 every model's error is within 15 points of its error on the same images "
            "after one step",
            _similar,
            "Ten steps of eps / 10; the paper names neither number nor length. The order of the "
            "models is the same.",
        )
        for method, words in (
            ("bim", "The basic iterative method"), ("llc", "The least likely class")
        )
    ),
    Claim(
        "audited", "§ 6", "Large n withstands an attacker who knows the model",
        "in words; Fig. 8",
        tuple(f"audit/{name}/all" for name in (*_LARGE, *_SMALL)),
        "all attacks of the audit together leave n = 20 and n = 30 more accuracy than n = 2 and "
        "n = 3. The accuracies of Fig. 8 itself are too high at large n: see the masking audit",
        _first_half_above, "",
        tuple(f"audit/{name}/{what}" for what in ("objective", "zero") for name in _LARGE),
    ),
    Claim(
        "readable", "§ 6", "People read the deformed images up to eps = 0.35 to 0.4", "in words",
        (), "", None, "This needs human readers; denseam attack makes the images.",
    ),
    Claim(
        "networks", "§ 7", "Networks of higher rectified polynomials do better than ReLU networks, "
        "and worse than the memories", "in words",
        _networks("l2", "relu", "polynomial3", "n20", "n30"),
        "the median L2 distance of the nearest wrong image rises from the ReLU network to the "
        "polynomial one, and from there to the memories of large n",
        _rises,
        "One step along the sign of the paper's gradient gives the paper's order (not judged). The "
        "minimum-norm attack, which no hidden gradient stops, does not: its medians differ by less "
        "than so few images can resolve. The networks have one hidden layer and were trained by "
        "the memories' rule.",
        tuple(
            f"networks/sign/{name}/0.3"
            for name in ("relu", "polynomial3", "polynomial5", "n20", "n30")
        ),
    ),
    Claim(
        "rbf", "§ 7", "RBF networks resist adversarial images but generalise poorly", "in words",
        (*_networks("l2", "rbf", "relu"), *_networks("error", "rbf", "n30")),
        "the RBF network's nearest wrong images are farther away than the ReLU network's, and its "
        "test error is above that of n = 30",
        _each_above_its_next,
    ),
    Claim(
        "nearest", "§ 7", "The limit of large n is the nearest neighbour, which generalises poorly",
        "in words",
        _networks("error", "nearest", "n20", "n30"),
        "its test error is above those of n = 20 and 30; a test of the package checks that a "
        "memory of the training images becomes the nearest neighbour as n grows",
        _first_above_all,
    ),
)  # fmt: skip
