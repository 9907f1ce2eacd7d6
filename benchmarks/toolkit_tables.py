"""Attacks of other people's toolkits on the models of the package, for docs/robustness.md.

    pip install 'denseam[robustness]' && pip install --no-deps torchattacks==3.5.1
    python benchmarks/toolkit_tables.py                   # every piece without a result
    python benchmarks/toolkit_tables.py 'minimum/*/l2/*'  # some; --again: also pieces that have one
    python benchmarks/toolkit_tables.py --tables          # only write the tables into the page

Each piece writes its result into benchmarks/results/robustness.json at once, so that the same
command continues an interrupted run. All sizes are in [0, 1] units. An image counts
as adversarial when it lies in [0, 1] and the model in float64 prefers another class than the right
one or is undecided.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import art.attacks.evasion
import art.estimators.classification
import foolbox
import torch
import torchattacks
from pyautoattack import AutoAttack
from pyautoattack.fab_pt import FABAttack_PT
from tables import Page, command, markdown
from torch import Tensor

import denseam
from denseam.pretrained import load_any

ROOT = Path(__file__).parents[1]

MODELS = ("mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30")
METHODS = ("FGSM", "BIM")
SIZES = (0.1, 0.15)
SCALES = (1, 100, 1000)
LIMITS = {"Linf": 0.1, "L2": 1.5}
# Of the first test images:
COUNTS = {"agreement": 1000, "scale": 200, "carlini": 20, "autoattack": 200, "minimum": 100}

Norm = Literal["l2", "linf"]


class Subject:
    """A model, the test images it is attacked on, and what counts as success."""

    def __init__(
        self, name: str, count: int, dtype: torch.dtype = torch.float32, first: int = 0
    ) -> None:
        self.network = load_any(name).to(dtype).requires_grad_(False)
        self.model = denseam.ImageClassifier(self.network)
        self.exact = denseam.ImageClassifier(load_any(name).double())
        test = mnist().test.subset(slice(first, first + count))
        self.images = test.visible().to(dtype).reshape(-1, 1, 28, 28) / 2 + 0.5
        self.labels = test.labels
        self.correct = ~self.fooled(self.images)

    def fooled(self, images: Tensor) -> Tensor:
        """Return which images, (B,) bool, lie in [0, 1] and get no right label; ties count."""
        inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
        with torch.no_grad():
            logits = self.exact(images.double().where(inside[:, None, None, None], 0.0))
        own = logits.gather(1, self.labels[:, None])[:, 0]
        others = logits.scatter(1, self.labels[:, None], -torch.inf).amax(dim=1)
        return inside & (others >= own)

    def distances(self, images: Tensor, norm: Norm) -> list[float | None]:
        """Return distances to adversarial images; None without one, 0 where the start is one."""
        size = sizes(images.double() - self.images.double(), norm).where(self.correct, 0.0)
        found = self.fooled(images) | ~self.correct
        pairs = zip(size.tolist(), found.tolist(), strict=True)
        return [round(distance, 6) if there else None for distance, there in pairs]


def sizes(moved: Tensor, norm: Norm) -> Tensor:
    flat = moved.flatten(1)
    return flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1)


@cache
def mnist() -> denseam.data.Dataset:
    return denseam.data.load("mnist")


@cache
def subject(name: str, count: int, dtype: torch.dtype = torch.float32) -> Subject:
    return Subject(name, count, dtype)


# ---- FGSM and BIM, four times -------------------------------------------------------------------


def foolbox_images(of: Subject, method: str, eps: float) -> Tensor:
    attacks = {
        "FGSM": foolbox.attacks.FGSM(),
        "BIM": foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=0.1, steps=10),
    }
    model = foolbox.PyTorchModel(of.model, bounds=(0, 1))
    return attacks[method](model, of.images, of.labels, epsilons=eps)[1]


def torchattacks_images(of: Subject, method: str, eps: float) -> Tensor:
    attacks = {
        "FGSM": torchattacks.FGSM(of.model, eps=eps),
        "BIM": torchattacks.BIM(of.model, eps=eps, alpha=eps / 10, steps=10),
    }
    return attacks[method](of.images, of.labels)


def art_images(of: Subject, method: str, eps: float) -> Tensor:
    model = art.estimators.classification.PyTorchClassifier(
        of.model, torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1)
    )
    evasion = art.attacks.evasion
    attacks = {
        "FGSM": evasion.FastGradientMethod(model, eps=eps, batch_size=250),
        "BIM": evasion.BasicIterativeMethod(
            model, eps=eps, eps_step=eps / 10, max_iter=10, batch_size=250, verbose=False
        ),
    }
    return torch.from_numpy(attacks[method].generate(of.images.numpy(), of.labels.numpy()))


def denseam_images(of: Subject, method: str, eps: float) -> Tensor:
    attack = {"FGSM": denseam.sign_gradient, "BIM": denseam.basic_iterative}[method]
    visible = 2 * of.images.flatten(1) - 1
    found = attack(of.network, visible, of.labels, 2 * eps, loss="cross_entropy")
    return found.images.reshape(of.images.shape) / 2 + 0.5


TOOLKITS = {
    "Foolbox": foolbox_images,
    "torchattacks": torchattacks_images,
    "ART": art_images,
    "denseam": denseam_images,
}


def agreement(name: str, method: str, eps: float) -> dict[str, Any]:
    """Measure the accuracy on the images of each toolkit."""
    of = subject(name, COUNTS["agreement"])
    found = {}
    for toolkit, make in TOOLKITS.items():
        images = make(of, method, eps)
        found[toolkit] = 1 - of.fooled(images).double().mean().item()
    return {"accuracy": found}


# ---- logits of another scale --------------------------------------------------------------------


def scale(name: str, factor: float) -> dict[str, Any]:
    """Measure what the scale of the logits does to attacks that depend on it."""
    of, few = subject(name, COUNTS["scale"]), subject(name, COUNTS["carlini"])
    scaled = denseam.ImageClassifier(of.network, scale=factor)
    model = foolbox.PyTorchModel(scaled, bounds=(0, 1))
    found = {}
    for method, attack in {
        "FGSM": foolbox.attacks.FGSM(),
        "BIM": foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=0.1, steps=20),
    }.items():
        images = attack(model, of.images, of.labels, epsilons=LIMITS["Linf"])[1]
        found[method] = 1 - of.fooled(images).double().mean().item()
    carlini = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=4, steps=200, stepsize=0.05)
    images = carlini(model, few.images, few.labels, epsilons=None)[0]
    images[images.flatten(1).amax(dim=1) == 0] = torch.nan  # black is what it returns for failure
    return {"accuracy": found, "carlini": few.distances(images, "l2")}


# ---- AutoAttack ---------------------------------------------------------------------------------


def autoattack(name: str, norm: Literal["Linf", "L2"]) -> dict[str, Any]:
    """Run the standard attacks in turn, each on the images that the others left."""
    of = subject(name, COUNTS["autoattack"])
    attack = AutoAttack(of.model, norm=norm, eps=LIMITS[norm], seed=0)
    standing, found = of.correct.clone(), {}
    for each in list(attack.attacks_to_run):
        attack.attacks_to_run = [each]
        left, start = standing.nonzero()[:, 0], time.perf_counter()
        images = of.images.clone()
        if len(left):
            images[left], _ = attack.run_standard_evaluation(of.images[left], of.labels[left])
        # AutoAttack's own projection leaves rounding.
        near = sizes(images - of.images, norm.lower()) <= LIMITS[norm] * (1 + 1e-5)
        standing &= ~(near & of.fooled(images))
        seconds = round(time.perf_counter() - start, 1)
        found[each] = {"robust": standing.double().mean().item(), "seconds": seconds}
    clean = of.correct.double().mean().item()
    return {"clean": clean, "attacks": found, "standing": standing.int().tolist()}


def own_attack(name: str, norm: Literal["Linf", "L2"]) -> dict[str, Any]:
    """Measure the images of the same set that denseam.minimum_norm leaves."""
    of, start = subject(name, COUNTS["autoattack"]), time.perf_counter()
    images = MINIMUM[norm.lower()][OWN](of)
    near = sizes(images - of.images, norm.lower()) <= LIMITS[norm]
    standing = of.correct & ~(near & of.fooled(images))
    seconds = round(time.perf_counter() - start, 1)
    return {"seconds": seconds, "standing": standing.int().tolist()}


# ---- minimum-norm attacks -----------------------------------------------------------------------


def by_foolbox(attack: Any, of: Subject, factor: float = 1, **starts: Tensor) -> Tensor:
    scaled = denseam.ImageClassifier(of.network, scale=factor)
    model = foolbox.PyTorchModel(scaled, bounds=(0, 1))
    return attack(model, of.images, of.labels, epsilons=None, **starts)[0]


def brendel_bethge(attack: type, of: Subject) -> Tensor:
    """Start from the nearest training image that the model labels as another class.

    Foolbox multiplies ``lr`` by all pixels of the batch, so it is divided by the images here.
    """
    train = mnist().train.visible()[:10_000].to(of.images)
    taken_for = of.network.predict(train)
    apart = torch.cdist(of.images.flatten(1), train / 2 + 0.5)
    apart[of.labels[:, None] == taken_for] = torch.inf
    starts = (train[apart.argmin(dim=1)] / 2 + 0.5).reshape(of.images.shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At the first initialisation")  # numba compiles
        return by_foolbox(attack(steps=300, lr=1e-3 / len(starts)), of, starting_points=starts)


def fab(norm: Norm, of: Subject, *, targeted: bool) -> Tensor:
    """Return the nearest image of nine targets; the toolkit itself stops at the first success."""
    attack = FABAttack_PT(of.model, norm=norm.capitalize(), n_iter=100, eps=1e6, seed=0)
    best, least = of.images.clone(), torch.full((len(of.images),), torch.inf)
    for attack.target_class in range(2, 11) if targeted else [None]:
        found = attack.attack_single_run(of.images, of.labels, is_targeted=targeted)
        here = sizes(found - of.images, norm).where(of.fooled(found), torch.inf)
        best[here < least], least = found[here < least], torch.minimum(here, least)
    return best


def own(norm: Norm, of: Subject) -> Tensor:
    visible = 2 * of.images.flatten(1) - 1
    nearest = denseam.minimum_norm(of.network, visible, of.labels, norm=norm, eight_bit=False)
    return nearest.images.reshape(of.images.shape) / 2 + 0.5


_attacks = foolbox.attacks
OWN = "denseam.minimum_norm"
MINIMUM: dict[Norm, dict[str, Callable[[Subject], Tensor]]] = {
    "l2": {
        **{
            f"DeepFool {over}": partial(
                by_foolbox, _attacks.L2DeepFoolAttack(steps=200, overshoot=over)
            )
            for over in (0.001, 0.02, 0.1)
        },
        "DDN": partial(by_foolbox, _attacks.DDNAttack(steps=500)),
        "DDN, scale 1000": partial(by_foolbox, _attacks.DDNAttack(steps=500), factor=1000),
        "FMN": partial(by_foolbox, _attacks.L2FMNAttack(steps=500)),
        "FAB": partial(fab, "l2", targeted=False),
        "FAB-T": partial(fab, "l2", targeted=True),
        "BB": partial(brendel_bethge, _attacks.L2BrendelBethgeAttack),
        OWN: partial(own, "l2"),
    },
    "linf": {
        **{
            f"DeepFool {over}": partial(
                by_foolbox, _attacks.LinfDeepFoolAttack(steps=200, overshoot=over)
            )
            for over in (0.001, 0.02, 0.1)
        },
        "FMN": partial(by_foolbox, _attacks.LInfFMNAttack(steps=500)),
        "FAB": partial(fab, "linf", targeted=False),
        "FAB-T": partial(fab, "linf", targeted=True),
        "BB": partial(brendel_bethge, _attacks.LinfinityBrendelBethgeAttack),
        OWN: partial(own, "linf"),
    },
}


def minimum(name: str, norm: Norm, attack: str) -> dict[str, Any]:
    """Measure how far each image has to move."""
    exact = attack != OWN and not attack.startswith("FAB")  # those two compute as they like
    of = subject(name, COUNTS["minimum"], torch.float64 if exact else torch.float32)
    start = time.perf_counter()
    images = MINIMUM[norm][attack](of).detach()
    seconds = round(time.perf_counter() - start, 1)
    return {"seconds": seconds, "distances": of.distances(images, norm)}


# ---- tables -------------------------------------------------------------------------------------


def agreement_table(known: dict[str, Any]) -> str:
    rows = []
    for name in MODELS:
        for method in METHODS:
            for eps in SIZES:
                if found := known.get(f"agreement/{name}/{method} {eps}"):
                    cells = [f"{100 * found['accuracy'][toolkit]:.1f} %" for toolkit in TOOLKITS]
                    rows.append([f"{name}, {method}, {eps}", *cells])
    return markdown(["model, attack, eps", *TOOLKITS], rows)


def scale_table(known: dict[str, Any]) -> str:
    rows = []
    for name in MODELS:
        for factor in SCALES:
            if found := known.get(f"scale/{name}/{factor}"):
                attacked = [distance for distance in found["carlini"] if distance != 0]
                reached = [distance for distance in attacked if distance is not None]
                carlini = f"{len(reached)} of {len(attacked)}"
                if reached:
                    carlini += f", {statistics.median(reached):.4f}"
                cells = [f"{100 * found['accuracy'][method]:.1f} %" for method in METHODS]
                rows.append([name, str(factor), *cells, carlini])
    return markdown(["model", "scale", *METHODS, "Carlini-Wagner"], rows)


def autoattack_table(known: dict[str, Any]) -> str:
    attacks, rows = ["apgd-ce", "apgd-t", "fab-t", "square"], []
    for name in MODELS:
        for norm, limit in LIMITS.items():
            own = known.get(f"own/{name}/{norm}")
            if own and (found := known.get(f"autoattack/{name}/{norm}")):
                robust = [f"{100 * found['attacks'][each]['robust']:.1f} %" for each in attacks]
                seconds = sum(found["attacks"][each]["seconds"] for each in attacks)
                pairs = list(zip(own["standing"], found["standing"], strict=True))
                ours, both = ([o for o, _ in pairs], [o and a for o, a in pairs])
                shares = [f"{100 * statistics.mean(each):.1f} %" for each in (ours, both)]
                rows.append(
                    [f"{name}, {norm} {limit}", f"{100 * found['clean']:.1f} %", *robust,
                     f"{seconds:.0f} s", shares[0], f"{own['seconds']:.0f} s", shares[1]]
                )  # fmt: skip
    columns = ["clean", *attacks, "time", "minimum_norm alone", "time", "both"]
    return markdown(["model, norm", *columns], rows)


def minimum_table(norm: Norm, known: dict[str, Any]) -> str:
    rows, toolkits = [], [attack for attack in MINIMUM[norm] if attack != OWN]
    found = {
        (attack, name): known[key]
        for attack in MINIMUM[norm]
        for name in MODELS
        if (key := f"minimum/{name}/{norm}/{attack}") in known
    }
    for attack in MINIMUM[norm]:
        here = [found.get((attack, name)) for name in MODELS]
        if any(here):
            cells = [summary(each["distances"]) if each else "" for each in here]
            seconds = [each["seconds"] for each in here if each]
            rows.append([attack, *cells, f"{statistics.mean(seconds):.0f} s"])
    least = []
    for name in MODELS:
        columns = [
            found[attack, name]["distances"] for attack in toolkits if (attack, name) in found
        ]
        images = zip(*columns, strict=True)
        least.append([min((x for x in image if x is not None), default=None) for image in images])
    rows.append(["least of the toolkits", *(summary(each) if each else "" for each in least), ""])
    return markdown(["attack", *(f"n = {name[7:]}" for name in MODELS), "time"], rows)


def summary(distances: list[float | None]) -> str:
    """Return median and mean over images that were right at first, and the successes if not all."""
    attacked = [distance for distance in distances if distance != 0]
    reached = [distance for distance in attacked if distance is not None]
    median = statistics.median(torch.inf if each is None else each for each in attacked)
    text = f"{median:.4f}, {statistics.mean(reached):.4f}" if reached else ""
    if len(reached) < len(attacked):
        text += f" ({100 * len(reached) / len(attacked):.0f} %)"
    return text


TABLES = {
    "agreement": agreement_table,
    "scale": scale_table,
    "autoattack": autoattack_table,
    "minimum-l2": partial(minimum_table, "l2"),
    "minimum-linf": partial(minimum_table, "linf"),
}


PAGE = Page(ROOT / "docs/robustness.md", ROOT / "benchmarks/results/robustness.json", TABLES)


# ---- pieces -------------------------------------------------------------------------------------


def pieces() -> dict[str, Callable[[], dict[str, Any]]]:
    """Return everything to measure, by name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, method, eps in product(MODELS, METHODS, SIZES):
        found[f"agreement/{name}/{method} {eps}"] = partial(agreement, name, method, eps)
    for name, factor in product(MODELS, SCALES):
        found[f"scale/{name}/{factor}"] = partial(scale, name, factor)
    for norm, attacks in MINIMUM.items():
        for attack, name in product(attacks, MODELS):
            found[f"minimum/{name}/{norm}/{attack}"] = partial(minimum, name, norm, attack)
    for norm, name in product(LIMITS, MODELS):
        found[f"autoattack/{name}/{norm}"] = partial(autoattack, name, norm)
        found[f"own/{name}/{norm}"] = partial(own_attack, name, norm)
    return found


if __name__ == "__main__":
    command(PAGE, pieces(), __doc__)
