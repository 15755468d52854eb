"""HTTP API and web page for galleries; needs the ``web`` extra."""

from lookalike.web.app import create_app
from lookalike.web.limits import WebLimits
from lookalike.web.serving import serve

__all__ = ["WebLimits", "create_app", "serve"]
