"""A Python environment for each peer, made on first use and kept.

They stand below `$MANTA_BENCH_CACHE` (by default ~/.cache/manta-bench). Remove that directory to
have them made anew.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class Unavailable(Exception):
    """A peer cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Environment:
    """What a peer needs: the versions of Python it runs on, the best first, and its packages."""

    name: str
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    runs_models: bool = True


def prepare(environment: Environment) -> Path:
    """The `python` of the environment. Raises Unavailable."""
    found = find_python(environment.pythons)
    if found is None:
        raise Unavailable(f"needs Python {' or '.join(environment.pythons)}, and none is found")
    packages = environment.packages
    if environment.runs_models:
        # The same ONNX Runtime as ours: it is the servers that are compared.
        packages = (*packages, f"onnxruntime=={importlib.metadata.version('onnxruntime')}")
    digest = hashlib.sha256(json.dumps([found, packages]).encode()).hexdigest()[:8]
    directory = cache_directory() / f"{environment.name}-{digest}"
    python = directory / "bin" / "python"
    stamp = directory / "installed"
    if not stamp.exists():
        print(f"installing {' '.join(packages)} ...", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        _run([found, "-m", "venv", str(directory)])
        _run([str(python), "-m", "pip", "install", "-q", *packages])
        stamp.write_text("\n".join(packages))
    return python


def cache_directory() -> Path:
    return Path(os.environ.get("MANTA_BENCH_CACHE", "~/.cache/manta-bench")).expanduser()


def find_python(versions: Sequence[str]) -> str | None:
    """A Python of one of these versions ("3.12"): this one, else from PATH, else pyenv's."""
    if "{}.{}".format(*sys.version_info[:2]) in versions:
        return str(Path(sys.base_prefix, "bin", "python3"))
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for version in versions:
        on_path = shutil.which(f"python{version}")
        by_pyenv = sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
        for candidate in [*([on_path] if on_path else []), *map(str, by_pyenv)]:
            if _is_version(candidate, version):
                return candidate
    return None


def library_directory(python: Path) -> str:
    """Where the shared library of a Python is."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.check_output([str(python), "-c", code], text=True).strip()


def versions_in(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of these distributions, and of Python itself."""
    code = (
        "import importlib.metadata as m, json, platform, sys;"
        "print(json.dumps({'python': platform.python_version()}"
        " | {n: m.version(n) for n in sys.argv[1:]}))"
    )
    text = subprocess.check_output([str(python), "-c", code, *packages], text=True)
    versions: dict[str, str] = json.loads(text)
    return versions


def _is_version(python: str, version: str) -> bool:
    """A shim of pyenv can be on PATH for a version that it does not run."""
    code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return run.returncode == 0 and run.stdout.strip() == version


def _run(command: Sequence[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        reason = (run.stderr or run.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise Unavailable(f"{' '.join(command[:4])} failed: {reason[0]}")
