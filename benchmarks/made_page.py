"""What benchmarks of the web page share: where Chromium is, and a server in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from lookalike.web.patience import PatientProtocol

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """Port of a real server with the protocol that ``lookalike serve`` uses."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", http=PatientProtocol))
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield socket.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
