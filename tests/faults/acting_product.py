"""The product with two models: a good one in the gateway, and `acting` in an application."""

from pathlib import Path

from tests.faults.models import GOOD, write_repository
from tests.integration.product import Product, project_files


def acting_product(folder: Path, *, haproxy: bool = False) -> Product:
    """Not started yet."""
    serve, _ = project_files(haproxy=haproxy)
    gateway, own = serve["applications"][:2]
    shared = {"repositories": [str(write_repository(folder / "models"))]}
    gateway["args"] = {
        **shared,
        "inline": [GOOD],
        "remote": ["acting"],
        "loaded_models_file": str(folder / "loaded.json"),
    }
    own |= {
        "name": "acting",
        "route_prefix": "/v2/models/acting",
        "import_path": "tests.faults.acting_application:build",
        "args": {**shared, "model": "acting"},
    }
    serve["applications"] = [gateway, own]
    return Product(folder, serve, {"version": 1})
