"""Headless Chromium: what a page looks like once its scripts ran, and whom it called."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--net-log-capture-mode=Default",
)


class Visit(NamedTuple):
    """The document as it stood at the end, every URL that the page asked for, and the console."""

    dom: str
    urls: frozenset[str]
    console: str


def visit(url: str, folder: Path, seconds: float = 60.0) -> Visit:
    """Open `url` with a new profile in `folder`, where no name but 127.0.0.1 resolves."""
    assert CHROMIUM is not None
    log = folder / "net.json"
    as_root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    done = subprocess.run(
        [
            *(CHROMIUM, *_SWITCHES, *as_root),
            *(f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"),
            *("--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=True,
    )
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return Visit(done.stdout, _urls(log), console)


def _urls(log: Path) -> frozenset[str]:
    """Those of pages, in Chromium's log of the network; its own requests come from no origin."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    requests = [told for event in events if "initiator" in (told := event.get("params", {}))]
    return frozenset(
        request["url"]
        for request in requests
        if request["initiator"] != "not an origin" or request["request_type"] == "main frame"
    )
