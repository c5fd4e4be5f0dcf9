"""Makes `inference_pb2.py` and its types from inference.proto. Run by `make proto`."""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

FOLDER = Path(__file__).resolve().parents[1] / "app" / "api" / "grpc" / "proto"
SOURCE = "inference.proto"

MODULE = '''"""Made from {source} by `make proto`; not to be edited.

The messages live in a pool of their own. In the default pool, where protoc's modules put theirs,
they would collide with those of a client library of this protocol in the same process.
"""

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()
POOL.AddSerializedFile(
    {serialized}
)
DESCRIPTOR = POOL.FindFileByName("{source}")
globals().update(
    {{name: GetMessageClass(found) for name, found in DESCRIPTOR.message_types_by_name.items()}}
)
'''


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "set"
        failed: int = protoc.main(
            [
                "protoc",
                f"--proto_path={FOLDER}",
                f"--descriptor_set_out={described}",
                f"--pyi_out={folder}",
                SOURCE,
            ]
        )
        if failed:
            return failed
        file = _only_file(described.read_bytes())
        types = (Path(folder) / "inference_pb2.pyi").read_text()
    (FOLDER / "inference_pb2.py").write_text(
        MODULE.format(source=SOURCE, serialized="\n    ".join(_literals(file)))
    )
    types = types.replace("DESCRIPTOR:", "POOL: _descriptor_pool.DescriptorPool\nDESCRIPTOR:", 1)
    (FOLDER / "inference_pb2.pyi").write_text(
        f"from google.protobuf import descriptor_pool as _descriptor_pool\n{types}"
    )
    return 0


def _only_file(described: bytes) -> bytes:
    """The one serialized FileDescriptorProto of a FileDescriptorSet."""
    (file,) = FileDescriptorSet.FromString(described).file
    return file.SerializeToString(deterministic=True)


def _literals(data: bytes, width: int = 24) -> list[str]:
    return [repr(data[start : start + width]) for start in range(0, len(data), width)]


if __name__ == "__main__":
    sys.exit(main())
