"""Every error that lookalike raises on purpose.

LookalikeError
├── UnreadableImageError      a file that is no image, is damaged, or is beyond the limits
├── UnknownModelError         a model name, folder or file that nothing answers to
├── CheckpointError           a weights file whose layout or sizes are not what was expected
└── UnsupportedMethodError    an explanation method that does not fit the model

Wrong arguments (a negative k, a box outside the image) are ``ValueError``. A message is one
sentence or two: what was expected, what came, what to do.
"""

from __future__ import annotations


class LookalikeError(Exception):
    """Parent of all errors that the command line and the server turn into one sentence."""


class UnreadableImageError(LookalikeError):
    """An image file could not be read; the message names the file and the cause."""


class UnknownModelError(LookalikeError):
    """No bundled model, timm model, folder or file answers to the name."""


class CheckpointError(LookalikeError):
    """A checkpoint's keys or sizes are not those of the layout it should have."""


class UnsupportedMethodError(LookalikeError):
    """An explanation method cannot be applied to this model; the message says why."""
