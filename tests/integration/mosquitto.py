"""A real Mosquitto broker for tests: on loopback, on a free port, with its files in one folder."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd", path="/usr/bin:/usr/local/bin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """One broker that keeps its port and its store over stops and starts.

    With `password`, user "edge" must give it; otherwise anyone may enter. The store is saved every
    second or two; a message is safe from `kill` after the next save.
    """

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 1",
            "max_queued_messages 100000",
            f"allow_anonymous {'true' if password is None else 'false'}",
        ]
        # Run as root, the broker would otherwise become a user who cannot write to the folder.
        lines.append("user root")
        if password is not None:
            users = folder / "users"
            assert MOSQUITTO_PASSWD is not None
            command = [MOSQUITTO_PASSWD, "-c", "-b", str(users), "edge", password]
            subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {users}")
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        assert MOSQUITTO is not None
        assert self._process is None
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-v", "-c", str(self._config)], stdout=log, stderr=log
            )
        give_up = time.monotonic() + 10.0
        while not self._answers():
            if time.monotonic() > give_up:
                raise RuntimeError(f"the broker did not start:\n{self.log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would, without saving anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Connected but silent, like a broker behind a broken link."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def saved_at(self) -> int:
        """When the store was last saved completely: it is renamed into place. 0 for never."""
        store = self._folder / "mosquitto.db"
        return store.stat().st_mtime_ns if store.exists() else 0

    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.5).close()
        except OSError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(10)
