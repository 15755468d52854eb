"""An S3 server in this process: moto's, which keeps objects in memory."""

import logging
from contextlib import contextmanager
from urllib.request import Request, urlopen


@contextmanager
def object_store(monkeypatch):
    """Serve S3 on this machine, and set the usual environment variables; yields server and a bucket's URI."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    urlopen(Request(f"{address}/bucket", method="PUT")).close()
    try:
        yield server, "s3://bucket"
    finally:
        server.stop()
