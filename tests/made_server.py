"""A real server on the loopback, as ``lookalike serve`` runs it."""

import threading
import time
from contextlib import contextmanager

import uvicorn

from lookalike.web.patience import PatientProtocol


@contextmanager
def serving(app):
    """Port of a real server with the protocol that ``serve`` uses."""
    config = uvicorn.Config(app, port=0, log_level="error", http=PatientProtocol)
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
