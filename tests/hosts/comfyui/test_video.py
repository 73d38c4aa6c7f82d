"""Option "video" in the real server: a batch through the nodes that detect faces."""

from __future__ import annotations

from tests.hosts.comfyui.graphs import GraphBuilder, restore
from tests.hosts.conftest import Parts


def test_a_batch_of_frames_passes_through(graph: GraphBuilder, parts: Parts) -> None:
    frames = graph.add("RepeatImageBatch", image=graph.photo(parts.left, "left.png"), amount=3)
    result = restore(graph, frames, video=True)
    result.passed_through(parts.left, parts.left, parts.left)
    assert len(result.after) == 3 * 5


def test_faces_keep_their_numbers_and_new_ones_follow_a_cut(graph: GraphBuilder, parts: Parts) -> None:
    pictures = [graph.photo(part, name) for part, name in ((parts.left, "left.png"), (parts.right, "right.png"))]
    shots = [graph.add("RepeatImageBatch", image=picture, amount=2) for picture in pictures]
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    found = graph.add("GPENDetectFaces", image=graph.batch(*shots), detector=detector, video=True)
    boxes = graph.run().outputs[found.id]["gpen_faces"]
    numbers = [[number for frame, number, *_ in boxes if frame == of] for of in range(4)]
    assert numbers == [[0, 1, 2, 3, 4]] * 2 + [[5, 6, 7, 8]] * 2
