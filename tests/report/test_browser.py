"""The pages in headless Chromium: no error in the console, no request, nothing wider than a phone."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricate import board, image_data

from corinth.compare.report import write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromedriver") is None or shutil.which("chromium") is None,
        reason="chromium and chromedriver are not installed",
    ),
]
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Calls of the WebDriver protocol, in a session."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["chromedriver", f"--port={port}"], **quiet)

    def call(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    for _ in range(100):
        try:
            call("GET", "/status")
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    arguments = [*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]
    wanted = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    session = call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
    yield lambda method, path, body=None: call(method, f"/session/{session}{path}", body)
    call("DELETE", f"/session/{session}")
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    data = image_data(classes=("</script><script>console.error('in')</script>", "<b>bee</b>", "cat", "d" * 90))
    made = board(folder, data, {"lenet5": 0.9, "cnn": 0.8, "small=lenet5": 0.6})
    return write_report(made, data, folder)[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_quietly_and_fits(driver: Callable[..., Any], report: Path, width: int, scheme: str) -> None:
    def devtools(command: str, **parameters: Any) -> None:
        driver("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def page(script: str) -> Any:
        return driver("POST", "/execute/sync", {"script": script, "args": []})

    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    devtools("Emulation.setDeviceMetricsOverride", **size)
    devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    driver("POST", "/se/log", {"type": "performance"})  # what the empty tab did
    driver("POST", "/url", {"url": report.as_uri()})
    drawn = 0
    for _ in range(100):
        drawn = page("return document.querySelectorAll('.chart .main-svg').length")
        if drawn >= 4:
            break
        time.sleep(0.1)
    assert drawn >= 4
    assert page("return document.documentElement.scrollWidth") <= width
    background = page("return getComputedStyle(document.body).backgroundColor")
    page("document.getElementById('theme').click()")
    assert page("return getComputedStyle(document.body).backgroundColor") != background
    page(
        "const s = document.querySelector('select[data-figure=confusion]'); s.selectedIndex = 1; "
        "s.dispatchEvent(new Event('change'))"
    )
    assert driver("POST", "/se/log", {"type": "browser"}) == []
    events = [json.loads(entry["message"])["message"] for entry in driver("POST", "/se/log", {"type": "performance"})]
    urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith(("data:", "chrome:"))} == {report.as_uri()}
