"""The HTTP API against its own description: schemathesis with all checks, on a real server.

Requests are generated from /api/openapi.json, valid and not; most ids in them are replaced by those of
pictures and of a case that exist, so that they reach the work. A server error, a status, type or schema of an
answer that the description does not name, and a wrong request that is accepted count as failures. Left out is
the check that every request which fits the description is accepted: whether a box lies inside its picture,
for example, no description can say. `uvx` runs schemathesis, which is not among the project's packages.

    python benchmarks/reliability/contract.py --examples 40 --seed 2
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from clients import made_gallery

sys.path.append(str(Path(__file__).parents[1]))
from environment import describe_run, parser_of

CASE = "wall photographs"
HOOKS = '''
import random
import schemathesis

RANDOM = random.Random(0)
IDS, CASE, GALLERY = {ids!r}, {case!r}, {gallery!r}
ONE, SEVERAL = {{"id", "query", "match", "first", "second"}}, {{"ids", "liked", "disliked"}}


def known(value, key=None):
    """The value with most ids, cases and boxes in it replaced by such as exist."""
    if isinstance(value, dict):
        return {{name: known(each, name) for name, each in value.items()}}
    if isinstance(value, list):
        return [known(each, "id" if key in SEVERAL else key) for each in value]
    if isinstance(value, str) and RANDOM.random() < 0.85:
        if key in ONE:
            return RANDOM.choice(IDS)
        return {{"gallery": GALLERY, "case": CASE, "box": "1,2,30,40"}}.get(key, value)
    return value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return known(path_parameters)


@schemathesis.hook
def map_query(context, query):
    return known(query)


@schemathesis.hook
def map_body(context, body):
    return known(body)
'''


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--examples", type=int, default=40, help="generated requests of each operation")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = made_gallery(folder)
        command = [sys.executable, "-m", "lookalike", "serve", "-g", uri, "--port", "0", "--add-from", name]
        with (folder / "server.log").open("w+") as log:
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                assert server.stdout is not None
                address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
                print(describe_run())
                failed = check(address.rstrip("/"), folder, options.examples, options.seed)
            finally:
                server.terminate()
                server.wait(60)
            log.seek(0)
            print(f"{log.read().count('Traceback')} tracebacks in the server's log")
    raise SystemExit(failed)


def check(address: str, folder: Path, n_examples: int, seed: int) -> int:
    """Run schemathesis against a server; its exit code, 0 when nothing was found."""
    gallery = httpx.get(f"{address}/api/galleries").json()[0]["name"]
    base = f"{address}/api/galleries/{gallery}"
    ids = [each["id"] for each in httpx.get(f"{base}/pictures").json()["pictures"]]
    httpx.post(f"{base}/cases", json={"name": CASE}).raise_for_status()
    (folder / "hooks.py").write_text(HOOKS.format(ids=ids, case=CASE, gallery=gallery))
    command = ["uvx", "schemathesis", "run", f"{address}/api/openapi.json", "--checks", "all"]
    command += ["--exclude-checks", "positive_data_acceptance", "--continue-on-failure", "--no-color"]
    command += ["--max-examples", str(n_examples), "--seed", str(seed)]
    command += ["--request-timeout", "60", "--max-response-time", "60"]  # the first layout of a map is slow
    return subprocess.run(command, cwd=folder, env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks"}).returncode


if __name__ == "__main__":
    main()
