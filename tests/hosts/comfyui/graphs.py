"""Graphs for the real server, and the results of the nodes that restore and paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.hosts.comfyui.server import ComfyUIServer, Finished, Graph

Pixels = NDArray[np.float64]
"""Values of 8-bit images, 0 to 255."""

PASSTHROUGH, MARKER = "passthrough-256.safetensors", "marker-256.safetensors"


@dataclass(frozen=True)
class Node:
    """A node of a graph; ``node[1]`` is the link to its second output."""

    id: str

    def __getitem__(self, output: int) -> list[Any]:
        return [self.id, output]


class GraphBuilder:
    """A graph in API form, built node by node. Widgets that are not given get their defaults, as on the page."""

    def __init__(self, server: ComfyUIServer) -> None:
        self.server = server
        self.graph: Graph = {}

    def add(self, kind: str, **inputs: Any) -> Node:
        """Add a node; inputs that are nodes stand for their first output."""
        values = {name: value[0] if isinstance(value, Node) else value for name, value in inputs.items()}
        for name, declared in self.server.object_info(kind)["input"].get("required", {}).items():
            if name not in values and len(declared) > 1 and "default" in declared[1]:
                values[name] = declared[1]["default"]
        node = Node(str(len(self.graph) + 1))
        self.graph[node.id] = {"class_type": kind, "inputs": values}
        return node

    def photo(self, picture: Any, name: str) -> Node:
        """Upload a photo and load it."""
        return self.add("LoadImage", image=self.server.upload_image(picture, name))

    def batch(self, *images: Node) -> Node:
        """Several photos of one size as one batch."""
        first, *others = images
        for image in others:
            first = self.add("ImageBatch", image1=first, image2=image)
        return first

    def show(self, image: Node | list[Any]) -> Node:
        return self.add("PreviewImage", images=image)

    def show_mask(self, mask: list[Any]) -> Node:
        return self.show(self.add("MaskToImage", mask=mask))

    def run(self) -> Finished:
        return self.server.run(self.graph)


@dataclass(frozen=True)
class Result:
    """The results of a node for a batch."""

    shown: dict[str, Any]
    """What the node shows on itself."""
    images: list[Pixels]
    """The photos."""
    masks: list[Pixels]
    """Their masks, 0 to 1."""
    touched: list[NDArray[np.bool_]]
    """Where the masks are above 0."""
    after: list[Pixels]
    """The crops that were pasted."""
    before: list[Pixels]
    """The crops of the originals."""

    def passed_through(self, *expected: NDArray[np.uint8], largest: float = 7, mean: float = 1) -> None:
        """Inside the masks the expected photos to within ``largest``, outside exactly.

        As :func:`tests.restoration.checks.passed_through`, with up to one level more: 8-bit files truncate.
        """
        for image, picture, touched in zip(self.images, expected, self.touched, strict=True):
            assert image.shape == picture.shape
            error = np.abs(image - picture)
            assert np.array_equal(image[~touched], picture[~touched])
            assert not touched.all()
            assert error.max() <= largest
            assert error[touched].mean() <= mean if touched.any() else True

    def blended(self, frame: int, below: NDArray[Any], above: NDArray[Any], largest: float = 8) -> None:
        """One photo is ``above`` blended over ``below`` by its mask; exactly ``below`` where the mask is 0.

        The mask has 8 bits too, which adds a level where the two differ much.
        """
        mask, touched = self.masks[frame], self.touched[frame]
        error = np.abs(self.images[frame] - (below * (1 - mask[..., None]) + above * mask[..., None]))
        assert np.array_equal(self.images[frame][~touched], below[~touched])
        assert error.max() <= largest
        assert error[touched].mean() <= 1.5
        # Otherwise the comparison would prove nothing.
        assert np.abs(np.asarray(above, np.float64) - below)[mask > 0.9].mean() > 10

    def nothing_done(self, *photos: NDArray[np.uint8]) -> None:
        """Unchanged photos, empty masks, and one black crop."""
        for image, photo, touched in zip(self.images, photos, self.touched, strict=True):
            assert np.array_equal(image, photo)
            assert not touched.any()
        for crops in (self.after, self.before):
            assert len(crops) == 1
            assert not crops[0].any()


def restore(graph: GraphBuilder, image: Node, *, weights: str = PASSTHROUGH, **inputs: Any) -> Result:
    """Add GPENRestoreFaces with YuNet to a graph, and run it.

    In float32: some CPUs choose bfloat16, which is too coarse to compare crops with.
    """
    if "detector" not in inputs and "faces" not in inputs:
        inputs["detector"] = graph.add("GPENLoadFaceDetector", detector="yunet")
    model = graph.add("GPENLoadModel", model_name=weights, precision="fp32")
    restored = graph.add("GPENRestoreFaces", image=image, model=model, **inputs)
    return run(graph, restored, restored[3], after=restored[1], before=restored[2])


def run(graph: GraphBuilder, node: Node, mask: list[Any], **crops: list[Any]) -> Result:
    """Run a graph with a node that returns photos, masks and crops."""
    # A saved mask loses values below 1/255.
    touched = graph.add("ThresholdMask", mask=mask, value=0.0)
    shown = {
        "images": graph.show(node),
        "masks": graph.show_mask(mask),
        "touched": graph.show_mask(touched[0]),
        **{name: graph.show(crop) for name, crop in crops.items()},
    }
    finished = graph.run()
    seen = {
        name: [np.asarray(picture, np.float64) for picture in graph.server.images(finished, node.id)]
        for name, node in shown.items()
    }
    return Result(
        shown=finished.outputs.get(node.id, {}),
        images=seen["images"],
        masks=[mask[..., 0] / 255 for mask in seen["masks"]],
        touched=[mask[..., 0] > 0 for mask in seen["touched"]],
        after=seen.get("after", []),
        before=seen.get("before", []),
    )
