"""main.ipynb and handwriting.ipynb in a real JupyterLab, in headless Chromium: every cell run, the picker clicked and
a 7 drawn as a user would.

Skipped where there is no Chromium. `pytest tests/test_browser.py --screenshots FOLDER` keeps the pictures, made with
the repository's own generator.
"""

import contextlib
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
import urllib.request
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status==='idle'"

pytestmark = pytest.mark.skipif(
    not CHROMIUM and "DIGITGAN_BROWSER" not in os.environ,
    reason="JupyterLab in a browser: no Chromium here; get it by `apt-get install chromium`, or install Chrome",
)


def serve(tmp_path, name, parameters, *cells):
    """Put a notebook, with some parameters and more cells at its end, where `lab` serves it."""
    notebook = nbformat.read(NOTEBOOKS / name, 4)
    (first,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    first.source += f"\n{parameters}"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in (*cells, 'print("all", "cells", "ran")')]
    nbformat.write(notebook, tmp_path / "served" / name)


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab with configuration of its own, which serves `tmp_path`/served."""
    (tmp_path / "served").mkdir()
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews":"false","checkForUpdates":false}')
    folders = "JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR JUPYTERLAB_WORKSPACES_DIR IPYTHONDIR".split()
    environment = os.environ | {name: str(tmp_path / name) for name in folders}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ip": "127.0.0.1", "port": port, "ServerApp.port_retries": 0, "IdentityProvider.token": "",
        "ServerApp.root_dir": tmp_path / "served", "LabApp.expose_app_in_browser": True,
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command + [f"--{name}={value}" for name, value in options.items()],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/lab/tree"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


@pytest.fixture
def keep(pytestconfig, tmp_path):
    """The folder for screenshots."""
    folder = Path(pytestconfig.getoption("--screenshots") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def ran(address, keep):
    """A page on which all cells of a notebook have run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
        try:
            page.goto(address, wait_until="domcontentloaded")
            page.wait_for_function(IDLE, timeout=90_000)
            page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
            page.locator(".jp-OutputArea-output", has_text="all cells ran").wait_for(timeout=240_000, state="attached")
            assert page.locator(".jp-OutputArea-output [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
            yield page
        except Exception:
            page.screenshot(path=keep / "failed.png")
            raise
        finally:
            browser.close()


CLICK = """([button, image]) => new Promise(resolve => {
    const start = performance.now();
    new MutationObserver(() => image.complete ? resolve(performance.now() - start)
        : image.addEventListener("load", () => resolve(performance.now() - start), {once: true})
    ).observe(image, {attributes: true, attributeFilter: ["src"]});
    button.click();
})"""  # milliseconds from a click to the new picture


def test_main_runs_and_the_picker_answers(lab, tmp_path, keep):
    (more, run) = "digit_picker()", f'epochs, limit, run_dir = 1, 1280, r"{tmp_path / "run"}"'  # the repository's own
    serve(tmp_path, "main.ipynb", run, more)
    with ran(f"{lab}/main.ipynb?reset", keep) as page:
        picker = page.locator(".widget-vbox").last
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
        picker.screenshot(path=keep / "picker.png")
        page.screenshot(path=keep / "lab.png")
        trained_here = page.locator(".widget-vbox").first
        trained_here.get_by_role("button", name="save as PNG").click()
        trained_here.locator(".widget-html-content", has_text="saved as").wait_for()
        (saved,) = (tmp_path / "run" / "picker").iterdir()
        assert saved.name.startswith("7-")


def test_a_seven_drawn_with_the_mouse_is_read_and_its_hand_goes_on(lab, tmp_path, keep):
    serve(tmp_path, "handwriting.ipynb", f'sources, run_dir = 10, r"{tmp_path / "run"}"')
    with ran(f"{lab}/handwriting.ipynb?reset", keep) as page:
        canvas = page.locator("canvas[aria-label^='drawing pad']")
        picture = page.locator(".widget-vbox img.widget-image").last
        before = picture.get_attribute("src")
        canvas.hover(position={"x": 70, "y": 60})  # scrolls there, and waits until the page stands still
        page.mouse.down()
        for x, y in ((140, 58), (205, 56), (185, 120), (160, 180), (140, 235)):
            canvas.hover(position={"x": x, "y": y})
        page.mouse.up()
        told = page.locator(".widget-html-content", has_text=re.compile(r"read as \d"))
        told.wait_for(timeout=60_000)
        assert "read as 7" in told.inner_text()
        assert picture.get_attribute("src") != before
        page.screenshot(path=keep / "handwriting.png")
        page.locator(".widget-vbox", has=canvas).first.screenshot(path=keep / "pad.png")
