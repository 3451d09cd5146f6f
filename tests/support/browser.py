"""Headless Chromium, as Debian has it, through its DevTools protocol: pages that are opened, asked and photographed."""

import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

LIMIT_S = 60.0

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip

WAIT = """
new Promise((resolve, reject) => {
  const end = performance.now() + %d;
  const look = () => {
    const found = (() => (%s))();
    if (found) resolve(found);
    else if (performance.now() > end) reject(new Error("never came true: " + document.body.innerText.slice(0, 500)));
    else setTimeout(look, 20);
  };
  look();
})
"""
"""A poll inside the page: elements come when they come."""


class Page:
    """A tab. `problems` are all errors and warnings of its console, exceptions and what its policy forbade."""

    def __init__(self, connection: ClientConnection, session: str, counter: "itertools.count[int]") -> None:
        self._connection, self._session, self._counter = connection, session, counter
        self._loaded = False
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load a page anew, and return when it is there."""
        for each in ("about:blank", url):  # where only what follows # differs, nothing would be loaded
            self._loaded = False
            self.send("Page.navigate", url=each)
            while not self._loaded:
                self._receive()

    def evaluate(self, code: str) -> Any:
        """The value of an expression; that of a promise when it is fulfilled."""
        answer = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    def wait_for(self, condition: str, limit_s: float = LIMIT_S) -> Any:
        """The value of an expression when it is true."""
        return self.evaluate(WAIT % (1000 * limit_s, condition))

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """Put text into the field that has the focus."""
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int, *, dark: bool = False, factor: float = 1) -> None:
        """Make it a screen of this size, in light or dark."""
        sizes: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": factor}
        self.send("Emulation.setDeviceMetricsOverride", **sizes, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen as a PNG, or the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._counter)
        call = {"id": number, "method": method, "params": parameters, "sessionId": self._session}
        self._connection.send(json.dumps(call))
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])

    def _receive(self) -> dict[str, Any]:
        message = json.loads(self._connection.recv(timeout=LIMIT_S))
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(str([argument.get("value") for argument in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(parameters["entry"]["text"])
        return dict(message)


def check_browser() -> str:
    """Where Chromium is; it is installed where small images lack it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    install = "apt-get update && apt-get install --yes --no-install-recommends chromium"
    subprocess.run(["/usr/bin/bash", "-c", install], check=True)
    return "/usr/bin/chromium"


@contextmanager
def run_browser(profile: Path) -> Iterator[Page]:
    """A browser with one tab. It ends with the block."""
    command = [check_browser(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        address = next(line.split()[-1] for line in lines if line.startswith("DevTools listening on"))
        # What it says later would fill the pipe, and stop it.
        process.stderr.close()
        with connect(address, max_size=None, proxy=None, compression=None) as connection:
            yield open_tab(connection)
            # All its processes end with it, and write no more into the profile.
            connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
            process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait(LIMIT_S)


def open_tab(connection: ClientConnection) -> Page:
    """A tab of a browser that runs."""

    def call(number: int, method: str, **parameters: Any) -> dict[str, Any]:
        connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(connection.recv(timeout=LIMIT_S))
            if message.get("id") == number:
                return dict(message["result"])

    target = call(1, "Target.createTarget", url="about:blank")["targetId"]
    session = call(2, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    return Page(connection, session, itertools.count(3))
