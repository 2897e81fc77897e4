"""main.ipynb in a real JupyterLab, in headless Chromium: every cell run, the picker clicked as a user would.

Skipped where there is no Chromium. `pytest tests/test_browser.py --screenshots FOLDER` keeps the pictures, made with
the repository's own generator.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "main.ipynb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status==='idle'"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that serves a small main.ipynb, with configuration of its own."""
    notebook = nbformat.read(NOTEBOOK, 4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    parameters.source += f'\nepochs, limit, run_dir = 1, 1280, r"{tmp_path / "run"}"'
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell("digit_picker()"))  # the repository's own generator
    notebook.cells.append(nbformat.v4.new_code_cell('print("all", "cells", "ran")'))
    (tmp_path / "served").mkdir()
    nbformat.write(notebook, tmp_path / "served" / "main.ipynb")
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
            yield f"http://127.0.0.1:{port}/lab/tree/main.ipynb?reset"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def test_main_runs_and_the_picker_answers(lab, tmp_path, pytestconfig):
    from playwright.sync_api import sync_playwright

    if keep := pytestconfig.getoption("--screenshots"):
        keep = Path(keep)
        keep.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
        try:
            page.goto(lab, wait_until="domcontentloaded")
            page.wait_for_function(IDLE, timeout=90_000)
            page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")
            page.locator(".jp-OutputArea-output", has_text="all cells ran").wait_for(timeout=240_000, state="attached")
            assert page.locator(".jp-OutputArea-output [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
            picker = page.locator(".widget-vbox").last
            picture = picker.locator("img.widget-image")
            picture.scroll_into_view_if_needed()
            for button in ("3", "8", "new handwriting", "inverted", "ink on paper"):
                before = picture.get_attribute("src")
                picker.get_by_role("button", name=re.compile(f"{button}$")).click()
                page.wait_for_function("([i, s]) => i.src !== s", arg=[picture.element_handle(), before])
            if keep:
                picker.screenshot(path=keep / "picker.png")
                page.screenshot(path=keep / "lab.png")
            trained_here = page.locator(".widget-vbox").first
            trained_here.get_by_role("button", name="save as PNG").click()
            trained_here.locator(".widget-html-content", has_text="saved as").wait_for()
            (saved,) = (tmp_path / "run" / "picker").iterdir()
            assert saved.name.startswith("7-")
        except Exception:
            page.screenshot(path=tmp_path / "failed.png")
            raise
        finally:
            browser.close()
