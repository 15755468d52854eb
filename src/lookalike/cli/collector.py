"""The garbage collector at the start of a command."""

from __future__ import annotations

import gc
import threading

_SECONDS = 5.0  # the libraries are imported, or nearly


def let_collector_rest(seconds: float = _SECONDS) -> None:
    """Look for garbage from so many seconds on.

    Libraries make half a million objects that stay as they are imported, and looking through them again and
    again takes an eighth of the time of a short command.
    """
    if not gc.isenabled():
        return
    gc.disable()
    again = threading.Timer(seconds, gc.enable)
    again.daemon = True  # a command that ends before does not wait
    again.start()
