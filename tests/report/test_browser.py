"""How the page looks in a browser: nothing is fetched, nothing overflows, both colour schemes are drawn."""

import json
import os
import shutil
import struct
import subprocess

import pytest

from tests.report.samples import incident, occurrence, operator, parting, port, proof, run, site, unproven
from tests.report.size_samples import answer, document, silent
from xinqiao.record.sizes import sized
from xinqiao.report import write
from xinqiao.report.kinds import KINDS
from xinqiao.report.words import LANGUAGES

pytestmark = pytest.mark.browser
LONG = "a/very/long/path/" * 8 + "train.py:1 in main"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whatever is asked for is logged, and goes nowhere
    "--allow-file-access-from-files",
]
SCHEMES = {"light": "1", "dark": "0"}  # Blink's own numbers for the reader's preference
HEIGHT = 6000


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert not os.environ.get("CI"), "install a browser: apt-get install chromium"
        pytest.skip("no Chromium on the path: apt-get install chromium fonts-noto-cjk")
    return found


def records():
    """Something in every section, and names too long for a narrow screen."""
    supports = ("native", "fallback", "refused", "unknown")
    operators = [operator(operator=f"aten::op{i}", support=s, seconds=1 / (i + 1)) for i, s in enumerate(supports * 10)]
    places = [
        occurrence(line=i, verdict=v, after="" if v == "needs-you" else "ACCELERATOR", before="x" * 90)
        for i, v in enumerate(["needs-you", "rewritten", "safe", "refused-by-chip"] * 20, 1)
    ]
    ported = run(
        title="B", line=LONG, operators=operators, incidents=[incident(line=LONG, source="https://x.example/")]
    )
    parted = [
        parting(weight=w, kind=k, port=site(i, LONG), message="x" * 90, module="Net.body." * 20, details=["y " * 90])
        for i, k in enumerate(KINDS)
        for w in ("differs", "note")
    ]
    proven = proof(verdict="differs", partings=parted, unproven=[unproven(i, "z" * 90) for i in range(40)])
    return [run(), port(occurrences=places), ported, proven]


def answers():
    """What `size` answered of three chips, likewise."""
    loud = {"title": "a chip of a very long name " * 3, "software": "x" * 90, "assumptions": ["y " * 90, "z" * 90]}
    silenced = silent(unknown=["w" * 90], memory=answer()["memory"])
    return [sized(document(answer(), answer(**loud, chips=64), silenced))]


@pytest.fixture(
    scope="module",
    params=[(kind, lang) for kind in (records, answers) for lang in LANGUAGES],
    ids=lambda p: f"{p[0].__name__}-{p[1]}",
)
def written(request, tmp_path_factory):
    """The page with every list unfolded, as a reader could leave it."""
    made, lang = request.param
    folder = tmp_path_factory.mktemp(lang)
    write(made(), folder / "page.html", lang)
    text = (folder / "page.html").read_text(encoding="utf-8")
    (folder / "page.html").write_text(text.replace("<details", "<details open"), encoding="utf-8")
    return folder / "page.html"


def browse(browser, folder, *words):
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_overflows(browser, written, tmp_path, width):
    """The page in a frame of that width: a window of its own is never narrower than 500 px."""
    (tmp_path / "frame.html").write_text(f"""<iframe id=f src="{written.as_uri()}" width={width} height=4000
    style="border:0"></iframe><script>f.onload = () => {{ const d = f.contentDocument.documentElement;
    document.title = `${{d.scrollWidth}} of ${{d.clientWidth}}`; }}</script>""")
    frame = (tmp_path / "frame.html").as_uri()
    shown = browse(browser, tmp_path, "--virtual-time-budget=3000", "--window-size=1500,4000", "--dump-dom", frame)
    assert f"<title>{width} of {width}</title>" in shown, shown[:400]


@pytest.mark.parametrize("width", [380, 1400])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_drawn_and_nothing_is_fetched(browser, written, tmp_path, width, scheme):
    (tmp_path / "frame.html").write_text(
        f"""<body style="margin:0"><iframe src="{written.as_uri()}" width={width} height={HEIGHT} style="border:0">"""
    )
    picture, log = tmp_path / "page.png", tmp_path / "net.json"
    browse(
        browser, tmp_path, f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", f"--log-net-log={log}",
        f"--window-size={max(width, 500)},{HEIGHT}", f"--screenshot={picture}", (tmp_path / "frame.html").as_uri(),
    )  # fmt: skip
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (max(width, 500), HEIGHT)
    assert picture.stat().st_size > 100_000  # an empty page of this size is below 40,000
    assert fetched(log) == set()


def fetched(log):
    """Web addresses that a page asked for. The browser's own questions (its updates, the time) have no origin."""
    every = [e.get("params", {}) for e in json.loads(log.read_text())["events"]]
    asked = {p["url"] for p in every if p.get("initiator", "not an origin") != "not an origin"}
    return {url for url in asked if url.startswith("http")}


def test_a_page_that_fetches_would_be_caught(browser, tmp_path):
    address, log = "http://elsewhere.invalid/a.png", tmp_path / "net.json"
    (tmp_path / "page.html").write_text(f'<img src="{address}">')
    page = (tmp_path / "page.html").as_uri()
    browse(browser, tmp_path, f"--log-net-log={log}", f"--screenshot={tmp_path / 'page.png'}", page)
    assert fetched(log) == {address}
