"""The gallery over HTTP and in the browser; needs the extra ``web``."""

from lookalike.web.app import create_app
from lookalike.web.limits import WebLimits
from lookalike.web.serving import serve

__all__ = ["WebLimits", "create_app", "serve"]
