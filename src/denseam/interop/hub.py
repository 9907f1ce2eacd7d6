"""A dense associative memory as a folder, or a repository, of the Hugging Face Hub.

model.safetensors   as ``DenseAM.save`` writes it: ``denseam.load(folder)`` reads it too
config.json         its settings, for people and for the Hub
README.md           the model card
"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from denseam.classifier import Classifier
from denseam.energies import RectifiedPolynomial
from denseam.errors import FileFormatError, InputError, MissingPackageError
from denseam.files import write_json
from denseam.model import DenseAM
from denseam.saved import load
from denseam.version import __version__

try:
    from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
except ImportError as error:
    raise MissingPackageError(
        "denseam.interop.HubDenseAM needs huggingface_hub: pip install 'denseam[hub]'"
    ) from error

_FILE = "model.safetensors"
_PAPER = "https://arxiv.org/abs/1701.00939"
_CARD = """\
---
{{ card_data }}
---

# Dense associative memory, {{ title }}

An energy-based classifier whose energy is a sum over memories of {{ terms }}
([Krotov and Hopfield, 2018]({{ paper }})): {{ n_memories }} memories, {{ n_visible }} pixels in
[-1, 1], {{ n_classes }} classes, temperature {{ temperature }}.

```python
from denseam.interop import HubDenseAM

model = HubDenseAM.from_pretrained({{ model_id }})
model.predict(visible)  # (B, {{ n_visible }}) in [-1, 1] -> (B,) labels
```
{% if metrics %}
| metric | value |
|---|---|
{% for name, value in metrics.items() %}| {{ name }} | {{ value }} |
{% endfor %}{% endif %}"""


class HubDenseAM(
    DenseAM,
    PyTorchModelHubMixin,
    library_name="denseam",
    tags=["associative-memory", "energy-based-model", "hopfield-network"],
    pipeline_tag="image-classification",
    paper_url=_PAPER,
):
    """A ``DenseAM`` with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    Memories are restored bit for bit, in their dtype, with power and temperature. Only safetensors
    are read; nothing is unpickled. ``save_pretrained(folder, model_card_kwargs=...)`` passes these
    on to ``generate_model_card``; an existing README.md is kept.

    Arguments and errors as for ``DenseAM``.
    """

    @classmethod
    def of(cls, model: Classifier) -> Self:
        """Return a model that shares the memories of another one.

        Raises:
            InputError: when it is not a ``DenseAM``.
        """
        if getattr(model, "kind", None) != cls.kind:
            raise InputError(f"model: wanted a DenseAM, got {type(model).__name__}")
        return cls.restore(model.tensors(), model.settings())

    def generate_model_card(
        self,
        *,
        model_id: str | None = None,
        license: str | None = None,  # noqa: A002 (the Hub's own word)
        metrics: Mapping[str, float | str] | None = None,
    ) -> ModelCard:
        """Return the README.md of the folder.

        Args:
            model_id: "owner/name" on the Hub, for the example.
            license: as the Hub names it, like "mit"; none by default.
            metrics: names and values for a table; none by default.
        """
        polynomial = isinstance(self.energy, RectifiedPolynomial)
        data = copy.deepcopy(self._hub_mixin_info.model_card_data)
        data.license = license
        card: ModelCard = ModelCard.from_template(
            data,
            template_str=_CARD,
            paper=_PAPER,
            model_id=f'"{model_id}"' if model_id else "folder",
            metrics=dict(metrics or {}),
            title=f"n = {self.power:g}" if polynomial else f"F = {self.energy}",
            terms="rectified polynomials of power n" if polynomial else f"{self.energy}",
            temperature=f"{self.temperature:g}",
            n_memories=self.n_memories,
            n_visible=self.n_visible,
            n_classes=self.n_classes,
        )
        return card

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory / _FILE)
        write_json(save_directory / "config.json", self._config())

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        map_location: str = "cpu",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **settings: Any,
    ) -> Self:
        """Read a folder, or download one file; ``settings`` are those of config.json.

        Raises:
            DataUnavailableError, FileFormatError: as ``denseam.load``.
            FileFormatError: when it holds another network, or other values of these settings.
            InputError: for settings that it does not have.
        """
        if os.path.isdir(model_id):  # noqa: PTH112 (as the mixin decides it)
            path = Path(model_id, _FILE)
        else:
            path = Path(
                hf_hub_download(
                    model_id, _FILE, revision=revision, cache_dir=cache_dir,
                    force_download=force_download, token=token, local_files_only=local_files_only,
                )
            )  # fmt: skip
        model = load(path, device=map_location)
        if model.kind != cls.kind:
            raise FileFormatError(f"{path} holds a network of kind {model.kind!r}, wanted 'dam'")
        restored = cls.of(model)
        written = restored._config()  # noqa: SLF001
        for name, value in settings.items():
            if name not in written:
                raise InputError(f"{name} = {value!r}: wanted only settings that {path} has")
            if written[name] != value:
                raise FileFormatError(f"{path} has {name} {written[name]!r}, not {value!r}")
        return restored.eval()

    def _config(self) -> dict[str, Any]:
        sizes = {"n_classes": self.n_classes, "n_memories": self.n_memories}
        return {**self.settings(), **sizes, "denseam": __version__}
