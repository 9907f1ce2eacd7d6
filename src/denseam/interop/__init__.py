"""Models for other programs: ONNX files, and folders as the Hugging Face Hub has them.

``export_onnx`` needs onnx, ``HubDenseAM`` huggingface_hub: ``pip install 'denseam[onnx,hub]'``.
"""

from typing import TYPE_CHECKING, Any

from denseam.interop.onnx import export_onnx

if TYPE_CHECKING:
    from denseam.interop.hub import HubDenseAM

__all__ = ["HubDenseAM", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name == "HubDenseAM":  # its base class is huggingface_hub's
        from denseam.interop.hub import HubDenseAM  # noqa: PLC0415

        return HubDenseAM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
