"""One JupyterLab for all tests of notebooks in a browser."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
