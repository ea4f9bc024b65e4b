"""A chapter in a real JupyterLab on localhost, run from top to bottom, a slider moved by hand."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

CHAPTERS = Path(__file__).parents[1] / "chapters"


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab on copies of the chapters; give its address."""
    shutil.copytree(CHAPTERS, tmp_path / "chapters")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--allow-root", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    home = {name: str(tmp_path / name.lower()) for name in
            ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    log = open(tmp_path / "log", "w")
    server = subprocess.Popen(command, cwd=tmp_path / "chapters", env={**os.environ, **home}, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((tmp_path / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_chapter_runs_in_jupyterlab_and_a_slider_moves_its_picture(lab):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto(f"{lab}/doc/tree/conv_arithmetic.ipynb")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        page.wait_for_function("window.jupyterapp !== undefined")
        # Cells that are run before the kernel is idle are dropped without a word.
        page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=90_000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        slider = page.locator(".jp-OutputArea-output .widget-slider .noUi-handle").first
        slider.wait_for(timeout=120_000)
        slider.scroll_into_view_if_needed()
        box = page.locator(".jp-OutputArea-output .widget-vbox", has=page.locator(".noUi-handle")).first
        before = box.locator("svg").first.inner_html()
        slider.focus()
        slider.press("ArrowRight")
        page.wait_for_function(
            "([box, before]) => box.querySelector('svg') && box.querySelector('svg').innerHTML !== before",
            arg=[box.element_handle(), before],
        )
        assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
        browser.close()
