"""GPEN Restore Video in the real server: a video in, a video out, and what is left of it where it does not end well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.hosts.comfyui.expected import colored, faces_in
from tests.hosts.comfyui.graphs import MARKER, GraphBuilder, Node
from tests.hosts.comfyui.server import ComfyUIServer, PromptFailedError, PromptInterruptedError
from tests.hosts.comfyui.websocket import Listener
from tests.hosts.conftest import Parts
from tests.video.clips import Clip, Seen, look, make

KEEPER = """
from comfy_api.latest import ComfyExtension, InputImpl, io


class KeepVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="KeepVideo", inputs=[io.Video.Input("video")], outputs=[], is_output_node=True)

    @classmethod
    def execute(cls, video):
        return io.NodeOutput(ui={"path": [str(video.get_stream_source())]})


class VideoInMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="VideoInMemory", inputs=[io.Video.Input("video")], outputs=[io.Video.Output()])

    @classmethod
    def execute(cls, video):
        import io as streams
        with open(video.get_stream_source(), "rb") as file:
            return io.NodeOutput(InputImpl.VideoFromFile(streams.BytesIO(file.read())))


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [KeepVideo, VideoInMemory]


async def comfy_entrypoint():
    return Extension()
"""
"""A pack whose node says where the file of a video is, and another that has it in memory."""

INTERLACED = {
    "codec": "mpeg2video",
    "options": {"flags": "+ildct+ilme", "top": "1"},
    "time_base": Fraction(1, 25),
    "steps": (1,),
}


@pytest.fixture(scope="module")
def comfyui(start_comfyui: Callable[..., ComfyUIServer], synthetic_models: dict[str, Path]) -> ComfyUIServer:
    return start_comfyui(synthetic_models, packs={"keeper": KEEPER})


@pytest.fixture
def graph(comfyui: ComfyUIServer) -> Iterator[GraphBuilder]:
    yield GraphBuilder(comfyui)
    assert [path.name for path in temporary(comfyui).rglob(".*")] == []  # no hidden folder of a run


def temporary(server: ComfyUIServer) -> Path:
    return server.base_dir / "temp"


def results(server: ComfyUIServer) -> list[Path]:
    return sorted(path for folder in temporary(server).glob("gpen_*") for path in folder.iterdir())


@pytest.fixture
def clip(parts: Parts) -> Clip:
    """People who move by two pixels from frame to frame, with two sounds."""

    def picture(number: int) -> np.ndarray:
        return np.roll(parts.left[:256, :300], 2 * number, axis=1)

    return Clip(frames=12, picture=picture, sounds=2, steps=(3600, 7200))


def load(graph: GraphBuilder, file: Path) -> Node:
    return graph.add("LoadVideo", file=graph.server.upload_image(file, file.name))


def restore(graph: GraphBuilder, video: Node, **inputs: Any) -> Node:
    model = graph.add("GPENLoadModel", model_name=MARKER, precision="fp32")
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    return graph.add("GPENRestoreVideo", video=video, model=model, detector=detector, **inputs)


def run(graph: GraphBuilder, node: Node) -> Path:
    """The file of the video that a node returns."""
    kept = graph.add("KeepVideo", video=node)
    (path,) = graph.server.run(graph.graph, deadline=300).outputs[kept.id]["path"]
    return Path(path)


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def marked(before: Sequence[np.ndarray], after: Sequence[np.ndarray], weights: Path, number: int) -> None:
    """All faces of a frame have the colours of the marker, and what is far from them has its own."""
    assert len(before) == len(after)
    one, other = before[number], after[number]
    faces = faces_in(one, weights)
    far = np.ones(one.shape[:2], bool)
    for face in faces:
        x, y = np.rint(face.center).astype(int)
        here = (slice(y - 3, y + 4), slice(x - 3, x + 4))
        assert np.abs(other[here].mean(axis=(0, 1)) - colored(one)[here].mean(axis=(0, 1))).max() < 20
        assert np.abs(other[here].mean(axis=(0, 1)) - one[here].mean(axis=(0, 1))).max() > 20
        x0, y0, x1, y1 = (round(value) for value in face.box)
        reach = y1 - y0
        far[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach] = False
    assert len(faces) >= 4
    assert far.any()
    assert np.abs(one.astype(int) - other)[far].mean() < 3


def same_but_pictures(before: Seen, after: Seen) -> None:
    assert after.times == before.times
    assert after.packets == before.packets
    assert after.about == before.about


def test_a_video_keeps_all_but_its_faces(
    graph: GraphBuilder, clip: Clip, tmp_path: Path, detector_weights: Path
) -> None:
    source = make(tmp_path / "people.mp4", clip)
    before = results(graph.server)
    path = run(graph, restore(graph, load(graph, source)))
    assert path.name == "people_restored.mp4"
    assert set(results(graph.server)) == {*before, path}
    same_but_pictures(look(source), look(path))
    for number in (0, 5, 11):
        marked(frames(source), frames(path), detector_weights, number)
    assert "restored in 12 frames, libx264 in yuv420p." in graph.server.log


def test_the_same_once_saved(graph: GraphBuilder, clip: Clip, tmp_path: Path, detector_weights: Path) -> None:
    source = make(tmp_path / "saved.mp4", replace(clip, sounds=1))
    more = {"format": "auto"}
    saved = graph.add("SaveVideo", video=restore(graph, load(graph, source)), filename_prefix="restored", **more)
    (shown,) = graph.run().outputs[saved.id]["images"]
    file = graph.server.base_dir / "output" / shown["subfolder"] / shown["filename"]
    before, after = look(source), look(file)
    assert after.times == before.times
    assert [data for *_, data in after.packets[1]] == [data for *_, data in before.packets[1]]
    marked(frames(source), frames(file), detector_weights, 3)


def test_what_is_chosen_and_protected(graph: GraphBuilder, clip: Clip, parts: Parts, tmp_path: Path) -> None:
    """Without loss, so that what nothing was done to is the same bit for bit."""
    source = make(
        tmp_path / "still.mkv", replace(clip, codec="ffv1", frames=3, picture=lambda _: parts.left[:256, :300])
    )
    mask = np.zeros((128, 150, 3), np.uint8)
    mask[:, 75:] = 255
    region, protect = (
        graph.add("LoadImageMask", image=graph.server.upload_image(picture, f"{name}.png"), channel="red")
        for name, picture in (("region", mask), ("protect", mask[:, ::-1]))
    )
    video = load(graph, source)
    chosen = frames(run(graph, restore(graph, video, codec="ffv1", region=region)))
    kept = frames(run(graph, restore(graph, video, codec="ffv1", protect=protect)))
    for before, one, other in zip(frames(source), chosen, kept, strict=True):
        assert np.array_equal(one[:, :90], before[:, :90])
        assert np.array_equal(other[:, :149], before[:, :149])
        for after in (one, other):
            assert np.abs(after.astype(int) - before)[:, 160:].max() > 40


def test_frames_in_memory_and_a_file_in_memory(
    graph: GraphBuilder, clip: Clip, parts: Parts, tmp_path: Path, detector_weights: Path
) -> None:
    picture = parts.left[:256, :300]
    batch = graph.add("RepeatImageBatch", image=graph.photo(picture, "left.png"), amount=4)
    path = run(graph, restore(graph, graph.add("CreateVideo", images=batch, fps=10.0)))
    assert look(path).times == [Fraction(number, 10) for number in range(4)]
    marked([picture] * 4, frames(path), detector_weights, 2)
    source = make(tmp_path / "memory.mp4", clip)
    after = GraphBuilder(graph.server)
    video = after.add("VideoInMemory", video=load(after, source))
    path = run(after, restore(after, video))
    same_but_pictures(look(source), look(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # not what it was made of


def test_a_trimmed_video(graph: GraphBuilder, clip: Clip, tmp_path: Path, detector_weights: Path) -> None:
    if "Video Slice" not in graph.server.object_info():
        pytest.skip("this version of ComfyUI does not trim videos")
    source = make(tmp_path / "long.mp4", replace(clip, frames=30, steps=(3600,)))
    trimmed = graph.add("Video Slice", video=load(graph, source), start_time=0.4, duration=0.4)
    path = run(graph, restore(graph, trimmed))
    before, after = look(source), look(path)
    assert after.times == [time - before.times[10] for time in before.times[10:20]]
    sound = [data for time, _, data in before.packets[1] if before.times[10] <= time < before.times[20]]
    assert [data for *_, data in after.packets[1]] == sound
    marked(frames(source)[10:20], frames(path), detector_weights, 4)


def test_progress_and_previews(graph: GraphBuilder, clip: Clip, tmp_path: Path) -> None:
    node = restore(graph, load(graph, make(tmp_path / "steps.mp4", clip)))
    graph.add("KeepVideo", video=node)
    with Listener(graph.server) as page:
        graph.server.wait(graph.server.submit(graph.graph, page.client))
        heard = page.until("execution_success")
    steps = [(data["value"], data["max"]) for kind, data in heard if kind == "progress" and data["node"] == node.id]
    assert steps[-1] == (24, 24)
    assert sorted(steps) == steps
    # Of steps that follow each other quickly, the host sends the last one.
    assert len(steps) >= 12
    assert {value <= 12 for value, _ in steps} == {True, False}
    previews = [data for kind, data in heard if kind == "preview"]
    assert len(previews) >= 2
    # ComfyUI enlarges them.
    assert all(preview.shape[:2] == (437, 512) for preview in previews)
    before, after = previews[0].astype(int), previews[-1]
    assert np.abs(before - after).max() > 40


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux, which says how much memory was used")
def test_a_longer_video_takes_no_more_memory(graph: GraphBuilder, clip: Clip, tmp_path: Path) -> None:
    server = graph.server
    frames = 80

    def restored(name: str, number: int) -> None:
        """One face of each frame."""
        here = GraphBuilder(server)
        source = make(tmp_path / f"{name}.mp4", replace(clip, frames=number))
        run(here, restore(here, load(here, source), select="largest"))

    restored("short", 20)
    before = server.peak_memory()
    restored("longer", frames)
    of_a_batch = frames * 256 * 300 * 3 * 4
    assert server.peak_memory() - before < of_a_batch / 2


@pytest.mark.parametrize("after", [2, 30])
def test_cancel_leaves_nothing(graph: GraphBuilder, clip: Clip, tmp_path: Path, after: int) -> None:
    """While faces are looked for, and while they are restored."""
    source = make(tmp_path / f"cancelled{after}.mp4", replace(clip, frames=25))
    node = restore(graph, load(graph, source))
    graph.add("KeepVideo", video=node)
    before = results(graph.server)
    with Listener(graph.server) as page:
        prompt = graph.server.submit(graph.graph, page.client)
        while True:
            kind, data = page.until("progress", "execution_success")[-1]
            assert kind == "progress"
            if data["node"] == node.id and data["value"] >= after:
                break
        graph.server.interrupt()
        heard = page.until("execution_interrupted", "execution_success", "execution_error")
    assert heard[-1][0] == "execution_interrupted"
    with pytest.raises(PromptInterruptedError):
        graph.server.wait(prompt)
    assert results(graph.server) == before
    assert len(list(temporary(graph.server).glob("gpen_*"))) == len(before)


@pytest.mark.parametrize(
    ("more", "inputs", "sentence"),
    [
        (INTERLACED, {}, r"is interlaced: .* The option deinterlace makes whole frames"),
        ({}, {"codec": "ffv1", "crf": 20.0}, r"^crf says nothing to FFV1"),
        ({}, {"only_faces": "x"}, r"^Only these faces"),
    ],
)
def test_what_is_refused(
    graph: GraphBuilder, clip: Clip, tmp_path: Path, more: dict[str, Any], inputs: dict[str, Any], sentence: str
) -> None:
    source = make(tmp_path / "refused.mkv", replace(clip, **more))
    before = results(graph.server)
    with pytest.raises(PromptFailedError, match=sentence):
        run(graph, restore(graph, load(graph, source), **inputs))
    assert results(graph.server) == before
