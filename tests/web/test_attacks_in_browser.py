"""Pages that attack: script in names and metadata, other origins, other host names, in a real browser."""

import io
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from lookalike.evaluation import evaluate
from lookalike.gallery import Gallery
from lookalike.reports.evaluation import evaluation_report
from lookalike.web import create_app
from made_browser import IN_BROWSER, chromium
from made_server import serving

pytest.importorskip("playwright.sync_api")

pytestmark = IN_BROWSER

SCRIPTS = (
    "<img src=x onerror=hacked()>",
    "'\"><script>hacked()<",
    "{{ hacked() }}${hacked()}",
    "' onmouseover=hacked() onfocus=hacked() autofocus x='",
    "--><svg onload=hacked()>",
)
METADATA = {
    "<script>hacked()</script>": "</p><script>hacked()</script>",
    "link": "javascript:hacked()",
    "style": "red;} * { background: url(https://elsewhere.example/x) }",
}
WATCH = """
window.trouble = [];
window.hacked = () => window.trouble.push('a script ran');
document.addEventListener('securitypolicyviolation',
  (event) => window.trouble.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="module")
def browser():
    with chromium("--host-resolver-rules=MAP rebound.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def watched(browser):
    """A page that fails the test when a script of an attacker runs, or a policy has to stop something."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.add_init_script(WATCH)
        page = context.new_page()
        page.set_default_timeout(20_000)
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
        yield page
        assert page.evaluate("window.trouble") == []
        assert not [url for url in requests if "elsewhere.example" in url]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A folder with a class for each script, and two pictures in each."""
    folder = tmp_path_factory.mktemp("hostile")
    for i, script in enumerate(SCRIPTS):
        (folder / script).mkdir()
        for j in range(2):
            image = Image.new("RGB", (60 + i, 40 + j), (40 * i, 90 + 60 * j, 200 - 30 * i))
            image.paste((250 - 40 * i, 10, 20), (5 * i, 5, 20 + 5 * i, 25))
            image.save(folder / script / f"{j} {script}.png")
    (folder / SCRIPTS[0] / f"2 {SCRIPTS[0]}.png").write_bytes(
        (folder / SCRIPTS[0] / f"0 {SCRIPTS[0]}.png").read_bytes()
    )
    return folder


@pytest.fixture(scope="module")
def hostile_gallery(hostile, mini, tmp_path_factory):
    gallery = Gallery.create(tmp_path_factory.mktemp("made") / "a <b onclick=hacked()>.gallery", mini)
    gallery.add(hostile, metadata=lambda path: {"label": path.parent.name, **METADATA}, workers=0)
    return gallery


def test_script_in_names_and_metadata_is_text_in_every_view(watched, hostile_gallery, tmp_path):
    with serving(create_app(hostile_gallery)) as port:
        watched.goto(f"http://127.0.0.1:{port}")
        watched.wait_for_selector(".browse")
        shown = watched.locator(".browse .name").all_text_contents()
        assert all(any(script in name for name in shown) for script in SCRIPTS)
        for i in range(watched.locator(".browse").count()):
            watched.locator(".browse").nth(i).hover()
        watched.set_input_files(
            "#file", {"name": SCRIPTS[0], "mimeType": "image/png", "buffer": _png((50, 40))}
        )
        watched.wait_for_selector(".hit")
        copies = watched.locator(".hit .copies")
        assert copies.count() == 1 and SCRIPTS[0] in copies.text_content()
        for selector in (".hit .why", ".hit .name", ".hit .metadata", "#query-name"):
            watched.locator(selector).first.hover()
        watched.locator(".hit .why").first.click()
        watched.locator(".hit").nth(1).get_by_text("Compare").click()
        watched.wait_for_selector("#compare[open]")
        watched.locator("#left").hover()
        watched.click("#next")
        watched.keyboard.press("Escape")
        watched.fill("#where", "label == '<img src=x onerror=hacked()>' and <script>")
        watched.keyboard.press("Enter")
        watched.wait_for_selector("#message.error")
        watched.fill("#where", "")
        watched.keyboard.press("Enter")
        watched.wait_for_selector("#grid:not([aria-busy]) .hit")
        with watched.expect_download() as download:
            watched.click("#report")
        download.value.save_as(tmp_path / "report.html")
        assert watched.evaluate("window.trouble") == []
        watched.goto((tmp_path / "report.html").as_uri())
        assert SCRIPTS[0] in watched.locator("body").inner_text()
        assert watched.locator("script, body [onerror], body [onload], body [onmouseover]").count() == 0
        watched.locator("img").first.hover()


def test_script_in_classes_is_text_in_the_report_of_an_evaluation(watched, hostile, mini, tmp_path):
    report = evaluation_report(evaluate(hostile, mini, layout="classes", clustering=False))
    (tmp_path / "evaluation.html").write_text(report, encoding="utf-8")
    watched.goto((tmp_path / "evaluation.html").as_uri())
    text = watched.locator("body").inner_text()
    assert all(script in text for script in SCRIPTS)
    assert watched.locator("script, body [onerror], body [onload], body [onmouseover]").count() == 0


def test_script_in_names_is_text_in_notebooks(watched, hostile_gallery, hostile):
    hits = hostile_gallery.search(sorted(hostile.rglob("*.png"))[0], k=12)
    watched.goto("about:blank")
    watched.set_content(hits._repr_html_() + hits[0].why()._repr_html_())
    assert SCRIPTS[0] in watched.locator("body").inner_text()
    assert watched.locator("script, body [onerror], body [onload], body [onmouseover]").count() == 0


def test_a_report_that_a_script_got_into_does_not_run_it(browser, hostile_gallery, hostile, tmp_path):
    hits = hostile_gallery.search(sorted(hostile.rglob("*.png"))[0], k=2)
    from lookalike.reports.search import search_report

    report = search_report(hits, hostile_gallery, parameters={})
    assert "<h1" in report
    (tmp_path / "bad.html").write_text(report.replace("<h1", "<script>document.title = 'ran'</script><h1", 1))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((tmp_path / "bad.html").as_uri())
        assert page.title() != "ran"


ATTACK = """<body><script>
const target = TARGET, data = new FormData();
const bytes = Uint8Array.from(atob(PICTURE), (c) => c.charCodeAt(0));
data.append('file', new Blob([bytes], {type: 'image/png'}), 'a.png');
const body = JSON.stringify({query: ID, folder: '.'});
const posts = [
  ['/api/queries', data], ['/api/galleries/g/jobs/upload', data], ['/api/galleries/g/search/upload', data],
  ['/api/galleries/g/jobs', body], ['/api/galleries/g/search', body], ['/api/galleries/g/report', body],
].map(([path, body]) => fetch(target + path, {method: 'POST', mode: 'no-cors', body}));
const gets = ['/api/galleries', '/api/galleries/g/pictures', '/api/galleries/g/pictures/' + ID]
  .flatMap((path) => [fetch(target + path), fetch(target + path, {mode: 'no-cors'})])
  .map((asked) => asked.then((answer) => answer.text()).catch(() => ''));
const image = new Image();
const frame = document.createElement('iframe'), script = document.createElement('script');
const seen = new Promise((resolve) => {
  image.onload = () => resolve('loaded'); image.onerror = () => resolve('refused');
});
image.src = target + '/api/galleries/g/pictures/' + ID;
frame.src = target + '/';
script.src = target + '/api/galleries/g/pictures';
document.body.append(image, frame, script);
Promise.all([seen, Promise.allSettled(posts), Promise.all(gets)])
  .then(([picture, , texts]) => { window.result = [picture, texts.join('')]; });
</script></body>"""
SEND_FORM = """path => {
  const name = path.replaceAll('/', '-'), form = document.createElement('form');
  form.innerHTML = '<input name="folder" value=".">';
  Object.assign(form, {method: 'post', enctype: 'multipart/form-data', target: name, action: target + path});
  const frame = Object.assign(document.createElement('iframe'), {name});
  document.body.append(form, frame);
  form.submit();
}"""  # a frame of its own for each: a second form sent to a frame that is loading may be dropped


class Attacker(BaseHTTPRequestHandler):
    def __init__(self, page, *arguments):
        self.page = page
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    "site", ["127.0.0.1", "localhost"]
)  # another port is the same site, but not the origin
def test_a_page_of_another_origin_neither_reads_nor_writes(browser, mini, tmp_path, site):
    import base64
    import json

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "own.png").write_bytes(_png((60, 40)))
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    gallery.add(tmp_path / "photos")
    (tmp_path / "photos" / "not indexed.png").write_bytes(_png((61, 40)))
    id, before = gallery.records()[0].id, sorted(tmp_path.rglob("*.png"))
    with serving(create_app(gallery, add_from=tmp_path / "photos")) as port:
        target = f"http://127.0.0.1:{port}"
        page_text = (
            ATTACK.replace("TARGET", json.dumps(target), 1)
            .replace("PICTURE", json.dumps(base64.b64encode(_png((50, 40))).decode()), 1)
            .replace("const target", f"const ID = {json.dumps(id)}, target", 1)
        )
        attacker = ThreadingHTTPServer(("127.0.0.1", 0), partial(Attacker, page_text))
        threading.Thread(target=attacker.serve_forever, daemon=True).start()
        try:
            with browser.new_context() as context:
                page = context.new_page()
                statuses = {}
                page.on("response", lambda r: statuses.setdefault((r.request.method, r.url), r.status))
                page.goto(f"http://{site}:{attacker.server_port}/")
                page.wait_for_function("window.result", timeout=20_000)
                assert page.evaluate("window.result") == ["refused", ""]
                for path in ("/api/galleries/g/jobs/upload", "/api/galleries/g/jobs"):
                    with page.expect_response(re.compile(re.escape(path) + "$")) as answer:
                        page.evaluate(SEND_FORM, path)
                    assert answer.value.status == 403
        finally:
            attacker.shutdown()
            attacker.server_close()
        posted = [status for (method, _), status in statuses.items() if method == "POST"]
        assert posted and set(posted) == {403}
    assert sorted(tmp_path.rglob("*.png")) == before and len(gallery) == 1


def test_a_name_that_was_turned_to_this_machine_is_refused(browser, gallery):
    app = create_app(gallery, allowed_hosts=["127.0.0.1", "localhost"])
    with serving(app) as port, browser.new_context() as context:
        page = context.new_page()
        answer = page.goto(f"http://rebound.example:{port}/")
        assert answer.status == 400 and "another name" in page.content()
        found = page.evaluate("fetch('/api/galleries').then((answer) => answer.status)")
        assert found == 400
        assert page.goto(f"http://127.0.0.1:{port}/").status == 200


def _png(size):
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 60)).save(buffer, "PNG")
    return buffer.getvalue()
