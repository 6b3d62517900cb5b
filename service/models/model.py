"""One version of one model, verified and ready: its manifest, its graphs on a device, its tokenizer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import (
    FileReference,
    GraphName,
    GraphReference,
    Manifest,
    ManifestError,
    load_manifest,
)
from service.errors import UnrollError
from service.models.conventions import check_conventions
from service.models.device import Device
from service.models.external_data import external_files
from service.models.graph import Array, Graph, sizes
from service.models.threads import threads_for
from service.models.tokenizer import Tokenizer

Row = NDArray[np.float32]

_EXAMPLE_VALUES = {"uniforms": 0.5, "temperature": 1.0, "top_p": 1.0}


class Model:
    """A loaded model. Keeps no client's state; safe to share between threads."""

    def __init__(
        self, manifest: Manifest, folder: Path, graphs: dict[GraphName, Graph], tokenizer: Tokenizer | None
    ) -> None:
        self.manifest = manifest
        self.folder = folder
        self.graphs = graphs
        self.tokenizer = tokenizer
        self._initial: Row | None = None
        if not manifest.graphs["initial"].inputs:
            self._initial = np.asarray(graphs["initial"].run({})["state"][0])
            self._initial.flags.writeable = False

    @classmethod
    def load(cls, folder: Path, device: Device, threads: int = 1) -> Model:
        """Verify a model folder and load it: manifest, files, hashes, graphs, tokenizer, one real step of each graph.

        Args:
            threads: within one graph run; 0 chooses by the model's size.

        Raises:
            ManifestError: anything is not as the manifest says; the message names both sides.
        """
        manifest = load_manifest(folder)
        check_conventions(manifest)
        # Read once: the bytes that were hashed are the bytes that are loaded.
        contents = {reference.file: _verified(folder, reference) for reference in _files(manifest)}
        weights = {manifest.weights.file: contents[manifest.weights.file]}
        size = len(contents[manifest.weights.file])
        chosen, threads = device.for_weights(size), threads_for(threads, size)
        graphs: dict[GraphName, Graph] = {}
        for name, graph in manifest.graphs.items():
            _check_external_data(contents[graph.file], graph, manifest.weights)
            graphs[name] = Graph(contents[graph.file], graph, weights, chosen, threads)
        reads = manifest.tokens
        tokenizer = Tokenizer(contents[reads.tokenizer.file], reads) if reads else None
        try:
            model = cls(manifest, folder, graphs, tokenizer)
            # Two sizes, because exporters have frozen the batch or the time axis without a word.
            for batch, steps in ((manifest.minimum_batch, 1), (manifest.minimum_batch + 1, 2)):
                model._try_one_step(batch, steps)
        except UnrollError as error:
            raise ManifestError(f"a real step failed: {error}: {error.__cause__ or 'nothing was run'}") from error
        return model

    def __repr__(self) -> str:
        return f"Model({self.manifest.id})"

    def initial(self, static: Row | None = None) -> Row:
        """The state row (S,) of a new session; `static` (D_in,) where the model has static covariates, else None."""
        if self._initial is not None:
            assert static is None, "this model has no static covariates"
            return self._initial
        assert static is not None, "this model has static covariates"
        rows = np.tile(np.asarray(static, np.float32), (self.manifest.minimum_batch, 1))
        return np.asarray(self.graphs["initial"].run({"static": rows})["state"][0])

    def _try_one_step(self, batch: int, steps: int) -> None:
        """Run every graph once at this size and check that what comes out has the shapes promised."""
        for name, graph in self.graphs.items():
            outputs = graph.run(self.example_inputs(name, batch, steps))
            for tensor in graph.reference.outputs:
                promised = sizes(tensor, batch, steps)
                if outputs[tensor.name].shape != promised:
                    raise ManifestError(
                        f"graph {name!r}: {tensor.name}: promises {promised} for batch {batch} and {steps} steps, "
                        f"gave {outputs[tensor.name].shape}"
                    )

    def example_inputs(self, name: GraphName, batch: int, steps: int) -> dict[str, Array]:
        example = dict(_EXAMPLE_VALUES)
        if self.manifest.text:
            example["tokens"] = self.manifest.text.start_token
        inputs: dict[str, Array] = {}
        for tensor in self.manifest.graphs[name].inputs:
            if tensor.name == "state":
                inputs["state"] = np.tile(self._example_row(), (batch, 1))
            else:
                inputs[tensor.name] = np.full(
                    sizes(tensor, batch, steps), example.get(tensor.name, 0), np.dtype(tensor.dtype)
                )
        return inputs

    def _example_row(self) -> Row:
        task = self.manifest.forecast
        if task is None or not task.static_covariates:
            return self.initial()
        return self.initial(np.zeros(len(task.static_covariates), np.float32))


def _files(manifest: Manifest) -> list[FileReference]:
    tokenizer = [manifest.tokens.tokenizer] if manifest.tokens else []
    return [*manifest.graphs.values(), manifest.weights, *tokenizer]


def _verified(folder: Path, reference: FileReference) -> bytes:
    """The file's content, once it is sure to lie in the folder, not elsewhere by a link, and to be what is meant."""
    try:
        path = (folder / reference.file).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise ManifestError(f"{reference.file}: expected a file inside the model's folder, it links to {path}")
        content = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"{reference.file}: the manifest names it, but it cannot be read: {error.strerror}"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != reference.sha256:
        raise ManifestError(f"{reference.file}: the manifest says SHA-256 {reference.sha256}, the file has {digest}")
    return content


def _check_external_data(content: bytes, graph: GraphReference, weights: FileReference) -> None:
    """Check that the graph reads no file but the weights, which are hashed."""
    try:
        files = external_files(content)
    except ValueError as error:
        raise ManifestError(f"{graph.file}: expected an ONNX file: {error}") from error
    if not files <= {weights.file}:
        raise ManifestError(f"{graph.file}: expected data only in {weights.file!r}, it refers to {sorted(files)}")
