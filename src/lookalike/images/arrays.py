"""Arrays and tensors as RGB pixels. Tensors are recognized without importing torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_tensor(source: object) -> bool:
    """Whether this is a torch tensor, by its methods."""
    return hasattr(source, "detach") and hasattr(source, "is_floating_point")


def is_array(source: object) -> bool:
    """Whether this is a numpy array or a torch tensor."""
    return isinstance(source, np.ndarray) or is_tensor(source)


def rgb_of_array(source: Any) -> NDArray[np.uint8]:
    """The pixels of an array or tensor: (H, W, 3) uint8, a copy.

    Arrays are (H, W, 3) RGB or (H, W) gray, uint8. Tensors are (3, H, W) RGB, uint8 or floating in
    [0, 1]; floating values are rounded to the nearest of the 256 levels. Raises ValueError otherwise.
    """
    return _of_tensor(source) if is_tensor(source) else _of_numpy(source)


def _of_numpy(array: NDArray[Any]) -> NDArray[np.uint8]:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not is_image or array.dtype != np.uint8:
        raise ValueError(
            "an image as a numpy array is (H, W, 3) RGB or (H, W) gray of dtype uint8; "
            f"got {array.shape} of {array.dtype}"
        )
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else np.array(array, order="C")


def _of_tensor(tensor: Any) -> NDArray[np.uint8]:
    is_float = tensor.is_floating_point()
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not (is_float or str(tensor.dtype) == "torch.uint8"):
        raise ValueError(
            "an image as a torch tensor is (3, H, W) RGB, uint8 or floating in [0, 1]; "
            f"got {tuple(tensor.shape)} of {tensor.dtype}"
        )
    plain = tensor.detach().cpu()
    values = (plain.float() if is_float else plain).numpy()  # numpy has no bfloat16
    if is_float:
        _check_range(values)
        values = np.rint(values * 255).astype(np.uint8)
    return np.array(values.transpose(1, 2, 0), order="C")


def _check_range(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise ValueError("an image as a floating tensor has values in [0, 1]; got NaN or infinite values")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"an image as a floating tensor has values in [0, 1]; got {values.min():.3g} to "
            f"{values.max():.3g}; undo its normalization, or give 0 to 255 as uint8"
        )
