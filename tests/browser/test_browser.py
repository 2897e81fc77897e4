"""main.ipynb and handwriting.ipynb in a real JupyterLab, in headless Chromium: all cells run, the
picker is clicked while one trains, training is stopped, and a 7 drawn as a user would; main.ipynb
as HTML, where no Python is; and handwriting.ipynb as a web page.

Skipped where there is no Chromium. `pytest tests/browser --screenshots FOLDER` keeps the pictures,
made with the repository's own generator.
"""

import contextlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

import anywidget
import nbconvert
import nbformat
import pytest
from PIL import Image

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status==='idle'"

pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM and "DIGITGAN_BROWSER" not in os.environ,
        reason="JupyterLab in a browser: no Chromium here; get it by `apt-get install chromium`, "
        "or install Chrome",
    ),
    pytest.mark.xdist_group("browser"),  # one JupyterLab serves them all
]


def serve(folder, name, parameters, *cells, before=()):
    """Put a notebook, with some parameters and more cells at its end, into a folder that is
    served. before: the beginning of a cell, and a cell that is put before it."""
    notebook = nbformat.read(NOTEBOOKS / name, 4)
    # what takes long and has nothing to click: test_notebooks runs it
    slow = ("scorecard = ", "written = page(", "trips = [walk(", "lines, seconds = [], []")
    slow += ("def real_and_imitated(",)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith(slow)]
    (first,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    first.source += f"\n{parameters}"
    if before:
        (at,) = [i for i, c in enumerate(notebook.cells) if c.source.startswith(before[0])]
        notebook.cells.insert(at, nbformat.v4.new_code_cell(before[1]))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    sources = *cells, 'print("all", "cells", "ran")'
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, folder / name)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def keep(pytestconfig, tmp_path):
    """The folder for screenshots."""
    folder = Path(pytestconfig.getoption("--screenshots") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def opened(browser, address, keep):
    """A page of a notebook."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
    try:
        page.goto(address, wait_until="domcontentloaded", timeout=240_000)
        yield page
    except Exception:
        page.screenshot(path=keep / "failed.png")
        raise
    finally:
        page.close()


def run_all(page):
    page.wait_for_function(IDLE, timeout=90_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def all_ran(page):
    last = page.locator(".jp-OutputArea-output", has_text="all cells ran")
    last.wait_for(timeout=240_000, state="attached")
    errors = "[data-mime-type='application/vnd.jupyter.stderr']"
    assert page.locator(f".jp-OutputArea-output {errors}").count() == 0


def in_kernel(page, code):
    """What some code prints in the notebook's kernel, after all that waits there."""
    return page.evaluate(
        """async (code) => {
          const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
          const future = kernel.requestExecute({ code });
          let printed = "";
          future.onIOPub = ({ header, content }) => {
            if (header.msg_type === "stream") printed += content.text;
            if (header.msg_type === "error") printed += content.traceback.join("\\n");
          };
          await future.done;
          return printed.trim();
        }""",
        code,
    )


def draw_a_seven(page):
    """Draw a 7 on the pad, and wait until its handwriting goes on; returns the pad."""
    pad = page.locator(".digitgan.drawing")
    canvas, paper = pad.locator("canvas.pad"), pad.locator(".paper")
    before = paper.get_attribute("data-writings")
    canvas.scroll_into_view_if_needed()
    place = None
    while place != (place := canvas.bounding_box()):  # JupyterLab goes on moving for a while
        page.wait_for_timeout(500)
    side = place["width"] / 280
    canvas.hover(position={"x": 70 * side, "y": 60 * side})
    page.mouse.down()
    for x, y in ((140, 58), (205, 56), (185, 120), (160, 180), (140, 235)):
        canvas.hover(position={"x": x * side, "y": y * side})
    page.mouse.up()
    told = pad.locator(".caption", has_text=re.compile(r"Recognised as \d"))
    told.wait_for(timeout=60_000)
    assert "Recognised as 7" in told.inner_text() and pad.get_by_label("it is 7").is_checked()
    pad.locator(f".paper:not([data-writings='{before}'])").wait_for()
    return pad


def keep_small(widget, path):
    """A screenshot for the README: 64 colours are enough."""
    picture = Image.open(io.BytesIO(widget.screenshot())).convert("RGB")
    picture.quantize(64).save(path, optimize=True)


CLICK = """([button, paper]) => new Promise(resolve => {
    const start = performance.now();
    new MutationObserver((_, observer) => {
        observer.disconnect();
        resolve(performance.now() - start);
    }).observe(paper, {attributes: true, attributeFilter: ["data-drawings"]});
    button.click();
})"""  # milliseconds from a click to the new picture


def click_all_digits(page, picker, rounds=1):
    """The time that each of some clicks takes until the picture is there, in milliseconds."""
    paper = picker.locator(".paper").element_handle()
    keys = [picker.get_by_label(f"write {digit}").element_handle() for digit in range(10)]
    return [page.evaluate(CLICK, [key, paper]) for _ in range(rounds) for key in keys]


def test_the_picker_answers_while_main_trains_and_is_in_step_with_python(
    lab, browser, tmp_path, keep
):
    folder, address = lab
    run = tmp_path / "run"
    steps = "trainer.step == Trainer.resume(run_dir).step"
    whole = f"assert 20 <= {steps} < trainer.total_steps"
    parameters = f'epochs, images_per_epoch, run_dir = 500, 1280, r"{run}"'
    early = ("history = trainer.train", f'early = digit_picker(folder=r"{tmp_path / "p"}")\nearly')
    serve(folder, "main.ipynb", parameters, whole, before=early)
    with opened(browser, f"{address}/main.ipynb?reset", keep) as page:
        run_all(page)
        stop = page.get_by_role("button", name="stop training")
        stop.wait_for(timeout=120_000)
        for _ in range(600):
            if not list(run.glob("progress/001.png")):  # in the middle of an epoch
                page.wait_for_timeout(100)
        picker = page.locator(".digitgan.picker").first  # the repository's own generator
        picker.scroll_into_view_if_needed()
        took = click_all_digits(page, picker, rounds=5)
        assert stop.is_enabled()  # it trains on
        print(f"click to picture, while a cell trains: {statistics.median(took):.0f} ms (median)")
        picker.get_by_label("a number to write").fill("24125")
        picker.get_by_role("img", name="24125, in handwriting").wait_for()
        assert stop.is_enabled()
        stop.click()
        all_ran(page)
        told = in_kernel(page, "print(early.value, early.digits)")
        assert told == "24125 Digits(5 images, labels 24125)"
        (keep / "latency.json").write_text(json.dumps(took))
        picker.get_by_label("write 8").check()
        assert in_kernel(page, "print(early.value, *early.digits.labels)") == f"8{' 8' * 10}"
        in_kernel(page, "early.value = '2024'")
        picker.get_by_role("img", name="2024, in handwriting").wait_for()
        picker.screenshot(path=keep / "number.png")
        in_kernel(page, "early.value, early.inverted = '7', True")
        picker.locator(".sheet.inverted").wait_for()
        assert picker.get_by_label("write 7").is_checked()
        in_kernel(page, "early.inverted = False")
        page.set_viewport_size({"width": 1280, "height": 1500})  # all of it
        page.wait_for_timeout(500)
        keep_small(picker, keep / "picker.png")
        page.screenshot(path=keep / "lab.png")
        for kind in ("PNG", "GIF"):
            picker.get_by_role("button", name=f"Save as {kind}").click()
            picker.locator(".caption", has_text=f".{kind.lower()}").wait_for()
            assert "saved as" in picker.locator(".caption").inner_text()
        names = sorted(path.name for path in (tmp_path / "p").iterdir())
        assert len(names) == 2 and all(name.startswith("7-x10-") for name in names)
        assert page.locator(".digitgan.picker").count() == 2  # and that of the new generator


@pytest.fixture(scope="session")
def fetched(tmp_path_factory):
    """What a notebook's HTML fetches, by a part of its address: from packages that are here, but
    for the manager of widgets, which npm has."""
    voila = pytest.importorskip("voila", reason="the exported HTML: no voila here, with require.js")
    (require,) = Path(sys.prefix, "share/jupyter/voila").rglob("require.min.js")
    extension = Path(anywidget.__file__).parent / "nbextension" / "index.js"
    folder, package = tmp_path_factory.mktemp("npm"), "@jupyter-widgets/html-manager@1"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["npm", "pack", package], cwd=folder, capture_output=True, timeout=120, check=False
        )
    archives = list(folder.glob("*.tgz"))
    if not archives:
        pytest.skip(f"the exported HTML: no {package} from npm here")
    with tarfile.open(archives[0]) as archive:
        manager = archive.extractfile("package/dist/embed-amd.js").read()
    assert voila
    return {
        "require.js": require.read_bytes(),
        "html-manager": manager,
        "/anywidget@": extension.read_bytes(),
    }


def test_mains_html_has_a_live_picker_without_python(
    browser, fetched, executed_main, tmp_path, keep
):
    html, _ = nbconvert.HTMLExporter().from_filename(executed_main / "out.ipynb")
    (tmp_path / "out.html").write_text(html)
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
    told = []

    def answer(route):
        found = [text for part, text in fetched.items() if part in route.request.url]
        if found:
            route.fulfill(body=found[0], content_type="text/javascript")
        else:
            route.abort()  # MathJax and the like

    try:
        page.route(re.compile("^https?:"), answer)
        page.on("pageerror", lambda error: told.append(str(error)))
        address = (tmp_path / "out.html").as_uri()
        page.goto(address, wait_until="domcontentloaded", timeout=120_000)
        picker = page.locator(".digitgan.picker")
        picker.get_by_role("img", name="2024, in handwriting").wait_for(timeout=60_000)
        took = click_all_digits(page, picker)
        print(f"click to picture, in exported HTML: {statistics.median(took):.0f} ms (median)")
        assert picker.get_by_label("write 9").is_checked()
        assert picker.locator(".cell").count() == 10
        picker.get_by_role("button", name="New handwriting").click()
        picker.locator(".thumbnail:nth-child(2)[aria-current=true]").wait_for()
        with page.expect_download() as download:
            picker.get_by_role("button", name="Save as PNG").click()
        assert download.value.suggested_filename == "9-handwriting-1.png"
        assert not picker.get_by_role("button", name="Save as GIF").is_visible()  # needs Python
        assert told == []
        picker.scroll_into_view_if_needed()
        page.screenshot(path=keep / "exported.png")
    finally:
        page.close()


def test_a_seven_drawn_with_the_mouse_is_recognised_and_its_handwriting_goes_on(
    lab, browser, tmp_path, keep
):
    folder, address = lab
    serve(folder, "handwriting.ipynb", f'run_dir = r"{tmp_path / "run"}"')
    with opened(browser, f"{address}/handwriting.ipynb?reset", keep) as page:
        run_all(page)
        all_ran(page)
        pad = draw_a_seven(page)
        assert page.get_by_label("write 7").is_checked()  # the picker's key stays pressed, too
        told = in_kernel(page, "print(pad.drawn['label'], 'latent' in pad.refined, pad.digits)")
        assert told == "7 True Digits(10 images, labels 0123456789)"
        in_kernel(page, "pad.number = '2024'")
        pad.get_by_role("img", name="2024, in your handwriting").wait_for()
        in_kernel(page, "pad.number = '0123456789'")
        pad.get_by_role("img", name="0123456789, in your handwriting").wait_for()
        keep_small(pad, keep / "pad.png")
        page.screenshot(path=keep / "handwriting.png")


def test_as_a_web_page_too_and_without_its_code(jupyter, browser, keep, tmp_path):
    pytest.importorskip("voila", reason="make app: no voila here; it comes with the extra `dev`")
    makefile = (NOTEBOOKS.parent / "Makefile").read_text()
    (target,) = re.findall(r"^app:.*\n\t\$\(RUN\) (.*)", makefile, re.M)
    serve(tmp_path, "handwriting.ipynb", f'run_dir = r"{tmp_path / "run"}"')
    address = jupyter(*target.replace("notebooks", str(tmp_path)).split())
    with opened(browser, address, keep) as page:
        draw_a_seven(page)
        assert all(click_all_digits(page, page.locator(".digitgan.picker")))
        assert not page.get_by_text("import numpy").count()
        page.screenshot(path=keep / "app.png")
