"""Plugs for other libraries, one module each; every module imports its library and nothing else does."""
