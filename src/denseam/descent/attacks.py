"""The table of attacks: image sets, `denseam attack`, its page and tests follow from the rows.

An attack is a function and a row. Its signature and docstring are all that is needed:

    def twice(model, visible, labels, eps, *, steps: int = 5):
        half = basic_iterative(model, visible, labels, eps / 2, steps=steps)
        return basic_iterative(model, half.images, labels, eps / 2, steps=steps)

    ATTACKS["twice"] = Attack(twice, "BIM, and again from where it ended")

* It takes a model, images (B, ...) in [-1, 1] and right classes (B,), and returns a
  ``DescentResult``. An ``eps`` makes it an attack of given size (visible units); one without looks
  for the nearest images.
* Numbers, words and their ``Literal``s that it takes by name become options of sets and command.
* Sets give it what they know if it takes that: see ``PROVIDED``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from denseam.descent.minimum import minimum_norm
from denseam.descent.result import DescentResult
from denseam.descent.sign import basic_iterative, least_likely, sign_gradient
from denseam.descent.square import square_attack

PROVIDED = ("chunk", "clip", "exact", "on_progress", "on_step", "seed", "shape")
"""Parameters that no option is made of: a set gives them, or leaves them at their defaults."""


@dataclass(frozen=True)
class Attack:
    """A row of the table.

    Attributes:
        function: (model, visible, labels, [eps], *, options) -> ``DescentResult``.
        title: what it does, in a few words.
        usual: options of sets where nobody gives them, if not the defaults of the function.
    """

    function: Callable[..., DescentResult]
    title: str
    usual: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Parameters of the function by name."""
        return inspect.signature(self.function).parameters

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that sets and the command take."""
        by_name = [p.name for p in self.parameters.values() if p.kind is p.KEYWORD_ONLY]
        return tuple(name for name in by_name if name not in PROVIDED)

    def taken(self, **values: Any) -> dict[str, Any]:
        """Return those of the values that the function takes."""
        return {name: value for name, value in values.items() if name in self.parameters}


ATTACKS: dict[str, Attack] = {
    "fgsm": Attack(sign_gradient, "one step along the sign of the gradient"),
    "bim": Attack(basic_iterative, "many small steps along signs of gradients"),
    "llc": Attack(least_likely, "many small steps towards the least likely class"),
    "minimum": Attack(
        minimum_norm,
        "the nearest image that is labelled otherwise, in L2 or Linf",
        usual={"eight_bit": False},  # sets keep floats
    ),
    "square": Attack(square_attack, "random squares, by scores alone"),
}
