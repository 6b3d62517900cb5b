"""`python -m service.protocols.inference_v2.grpc_generate`: write inference_pb2.py and .pyi from inference.proto.

For developers, after a change of the .proto; needs `grpcio-tools`, which serving does without. The module holds the
compiled description and no generated code, so that it is not bound to one version of protobuf. Its messages are in a
descriptor pool of their own: the process may hold another package `inference`, as one with a client of the protocol in
it does, and the common pool takes each name once.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

HERE = Path(__file__).parent
PROTO = HERE / "inference.proto"
MODULE = HERE / "inference_pb2.py"
TYPES = HERE / "inference_pb2.pyi"
_LINE = 108

_TEMPLATE = '''\
"""The messages of inference.proto. Written by grpc_generate.py, which says why it looks like this: do not edit."""

import base64

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

_pool = DescriptorPool()
_pool.AddSerializedFile(
    base64.b64decode(
        """
{description}
        """
    )
)
DESCRIPTOR = _pool.FindFileByName("{name}")
_classes = GetMessageClassesForFiles(["{name}"], _pool)

{classes}
'''


def generated() -> tuple[str, str]:
    """The text of the module and of its types, as the .proto has them now."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={HERE}", f"--pyi_out={out}"]
            + [f"--descriptor_set_out={out / 'description'}", PROTO.name],
            check=True,
        )
        file = FileDescriptorSet.FromString((out / "description").read_bytes()).file[0]
        types = (out / TYPES.name).read_text(encoding="utf-8")
    classes = "\n".join(f'{each.name} = _classes["{file.package}.{each.name}"]' for each in file.message_type)
    module = _TEMPLATE.format(description=_wrapped(file.SerializeToString()), name=file.name, classes=classes)
    return module, types


def _wrapped(content: bytes) -> str:
    return textwrap.indent(textwrap.fill(base64.b64encode(content).decode(), _LINE), " " * 8)


if __name__ == "__main__":
    for path, text in zip((MODULE, TYPES), generated(), strict=True):
        path.write_text(text, encoding="utf-8")
