"""main.ipynb and handwriting.ipynb in a real JupyterLab, in headless Chromium: all cells run,
training is stopped, the picker clicked and a 7 drawn as a user would; and handwriting.ipynb as a
web page.

Skipped where there is no Chromium. `pytest tests/browser --screenshots FOLDER` keeps the pictures,
made with the repository's own generator.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

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


def serve(folder, name, parameters, *cells):
    """Put a notebook, with some parameters and more cells at its end, into a folder that is
    served."""
    notebook = nbformat.read(NOTEBOOKS / name, 4)
    # the scorecard takes 40 seconds and has nothing to click: test_notebooks runs it
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("scorecard = ")]
    (first,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    first.source += f"\n{parameters}"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    sources = *cells, 'print("all", "cells", "ran")'
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, folder / name)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """A function: a command that serves a folder's notebooks, with configuration of its own -> its
    address."""
    tmp_path = tmp_path_factory.mktemp("jupyter")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = '{"fetchNews":"false","checkForUpdates":false}'
    (settings / "notification.jupyterlab-settings").write_text(quiet)
    names = "CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"
    folders = [f"JUPYTER_{name}" for name in names] + ["JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"]
    environment = os.environ | {name: str(tmp_path / name) for name in folders}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    servers = contextlib.ExitStack()

    def start(*command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = servers.enter_context((tmp_path / f"{port}.log").open("w"))
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        servers.callback(server.wait, 30)
        servers.callback(os.killpg, server.pid, signal.SIGTERM)
        for _ in range(240):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 5).close()
                return f"http://127.0.0.1:{port}"
            time.sleep(0.25)
        raise TimeoutError(command)

    with servers:
        yield start


@pytest.fixture(scope="module")
def lab(jupyter, tmp_path_factory):
    """A JupyterLab: its folder, and the address of its notebooks."""
    folder = tmp_path_factory.mktemp("served")
    options = {
        "ip": "127.0.0.1",
        "IdentityProvider.token": "",
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder,
        "LabApp.expose_app_in_browser": True,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    address = jupyter("jupyter", "lab", "--allow-root", *flags)
    return folder, f"{address}/lab/tree"


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


def draw_a_seven(page):
    """Draw a 7 on the pad, and wait until its handwriting goes on; returns the pad."""
    canvas = page.locator("canvas[aria-label^='drawing pad']")
    pad = page.locator(".widget-vbox", has=canvas).filter(has=page.locator("img")).first
    picture = pad.locator("img")
    before = picture.get_attribute("src")
    canvas.scroll_into_view_if_needed()
    place = None
    while place != (place := canvas.bounding_box()):  # JupyterLab goes on moving for a while
        page.wait_for_timeout(500)
    canvas.hover(position={"x": 70, "y": 60})
    page.mouse.down()
    for x, y in ((140, 58), (205, 56), (185, 120), (160, 180), (140, 235)):
        canvas.hover(position={"x": x, "y": y})
    page.mouse.up()
    told = page.locator(".widget-html-content", has_text=re.compile(r"recognised as \d"))
    told.wait_for(timeout=60_000)
    assert "recognised as 7" in told.inner_text()
    assert picture.get_attribute("src") != before
    return pad


def keep_small(widget, path):
    """A screenshot for the README: 64 colours are enough."""
    picture = Image.open(io.BytesIO(widget.screenshot())).convert("RGB")
    picture.quantize(64).save(path, optimize=True)


CLICK = """([button, image]) => new Promise(resolve => {
    const start = performance.now();
    new MutationObserver(() => image.complete ? resolve(performance.now() - start)
        : image.addEventListener("load", () => resolve(performance.now() - start), {once: true})
    ).observe(image, {attributes: true, attributeFilter: ["src"]});
    button.click();
})"""  # milliseconds from a click to the new picture


def test_main_runs_is_stopped_and_the_picker_answers(lab, browser, tmp_path, keep):
    folder, address = lab
    run = tmp_path / "run"
    steps = "trainer.step == Trainer.resume(run_dir).step"
    whole = f"assert 20 <= {steps} < trainer.total_steps"
    parameters = f'epochs, images_per_epoch, run_dir = 500, 1280, r"{run}"'
    serve(folder, "main.ipynb", parameters, whole, "digit_picker()")
    with opened(browser, f"{address}/main.ipynb?reset", keep) as page:
        run_all(page)
        stop = page.get_by_role("button", name="stop training")
        stop.wait_for(timeout=120_000)
        for _ in range(600):
            if not list(run.glob("progress/001.png")):  # in the middle of an epoch
                page.wait_for_timeout(100)
        stop.click()
        all_ran(page)
        picker = page.locator(".widget-vbox").last  # the repository's own generator
        picture = picker.locator("img.widget-image")
        picture.scroll_into_view_if_needed()
        took = []
        for button in ("3", "8", "new handwriting", "inverted", "ink on paper", *"0123456789"):
            found = picker.get_by_role("button", name=re.compile(f"{button}$")).element_handle()
            took.append(page.evaluate(CLICK, [found, picture.element_handle()]))
        print(f"click to picture: {statistics.median(took):.0f} ms, at most {max(took):.0f}")
        (keep / "latency.json").write_text(json.dumps(took))
        before = picture.get_attribute("src")
        picker.get_by_placeholder("or type a number").fill("241256")
        page.wait_for_function("([i, s]) => i.src !== s", arg=[picture.element_handle(), before])
        picker.screenshot(path=keep / "number.png")
        picker.get_by_placeholder("or type a number").fill("")
        page.wait_for_timeout(500)
        keep_small(picker, keep / "picker.png")
        page.screenshot(path=keep / "lab.png")
        trained_here = page.locator(".widget-vbox").first
        trained_here.get_by_role("button", name="save as PNG").click()
        trained_here.locator(".widget-html-content", has_text="saved as").wait_for()
        (saved,) = (run / "picker").iterdir()
        assert saved.name.startswith("7-")


def test_a_seven_drawn_with_the_mouse_is_recognised_and_its_handwriting_goes_on(
    lab, browser, tmp_path, keep
):
    folder, address = lab
    serve(folder, "handwriting.ipynb", f'run_dir = r"{tmp_path / "run"}"')
    with opened(browser, f"{address}/handwriting.ipynb?reset", keep) as page:
        run_all(page)
        all_ran(page)
        keep_small(draw_a_seven(page), keep / "pad.png")
        page.screenshot(path=keep / "handwriting.png")


def test_as_a_web_page_too_and_without_its_code(jupyter, browser, keep):
    pytest.importorskip("voila", reason="make app: no voila here; it comes with the extra `dev`")
    makefile = (NOTEBOOKS.parent / "Makefile").read_text()
    (target,) = re.findall(r"^app:.*\n\t\$\(RUN\) (.*)", makefile, re.M)
    address = jupyter(*target.replace("notebooks", str(NOTEBOOKS)).split())
    with opened(browser, address, keep) as page:
        draw_a_seven(page)
        picker = page.locator(".widget-vbox").first
        picture = picker.locator("img").element_handle()
        three = picker.get_by_role("button", name="3").element_handle()
        assert page.evaluate(CLICK, [three, picture])
        assert not page.get_by_text("import numpy").count()
        page.screenshot(path=keep / "app.png")
