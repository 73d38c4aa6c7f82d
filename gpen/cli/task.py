"""`gpen restore`, `colorize`, `inpaint` and `synthesize`: a task done to photos."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..atomic import make_folder
from ..batch.config import RunConfig
from ..batch.engine import Cluster, Engine, make_engine
from ..batch.plan import Job, PhotoFile, Problem, plan, plan_beside
from ..batch.report import PhotoResult, Status, write_report
from ..batch.resume import ResumeRecord, recipe
from ..batch.stages import OutputOptions
from ..batch.video import TrackedFaces, in_order, track_video
from ..device import pick_device
from ..errors import OptionError, PhotoError
from ..faces.face import Face
from ..filenames import real_path
from ..images import Picture
from ..options import PRESETS, Options, parse_face_numbers
from ..tasks import find_task
from ..weights.checkpoint import inspect, require_task
from ..weights.search import find_networks, search_folders
from ..wording import count
from .arguments import options_from
from .films import films_among, run_films
from .outputs import check_output_file, check_results_spare
from .progress import OVERWRITE, Progress, Tally, frame_progress, print_failures, print_problems, with_advice

_SCREEN = 20  # lines


def run(arguments: argparse.Namespace) -> int:
    """Do a task to photos and films, and print the results; returns 0 if all succeeded, else 1.

    GpenError if the run cannot start: no model, no detector, a bad faces file.
    """
    options = options_from(arguments)
    _check(arguments, options)
    arguments.output = _output(arguments)
    if arguments.report is None:  # it would name them
        _require_one(arguments.paths)
    films, left_out = films_among(arguments)
    done = run_films(films, arguments, _config(arguments, options)) if films else 0
    return max(done, _run_photos(arguments, options, left_out)) if arguments.paths else done


def _run_photos(arguments: argparse.Namespace, options: Options, left_out: Sequence[Problem]) -> int:
    """left_out: what else was given and cannot be used."""
    jobs, problems = _plan(arguments, options.video)
    problems = [*left_out, *problems]
    if not jobs:
        print_problems(problems)
        return 1
    config, cluster = _config(arguments, options), _cluster(arguments)
    if options.video:
        config = dataclasses.replace(config, video=_track(config, jobs))
    output = arguments.output
    # Single results, and those beside their photos, need no record.
    is_folder = output is not None and jobs[0].target != output
    with ThreadPoolExecutor(1) as beside:
        # The SHA256 of models of several hundred megabytes, while the engine loads them.
        made_with = beside.submit(recipe, config) if is_folder else None
        engine = make_engine(config, cluster, output if is_folder else jobs[0].target.parent, arguments.report)
    record = None if made_with is None else ResumeRecord(output, made_with.result())
    tally = _process(engine, jobs, arguments.report, Tally(arguments.report is not None, config.task.done), record)
    print_problems(problems)
    print(f"{count(len(jobs), 'photo')}: {tally}.")
    if len(jobs) > _SCREEN:  # the messages have long left it
        print_failures(tally)
    if tally.stale:
        text = f"{count(tally.stale, 'existing result')} made with other options or models: kept. {OVERWRITE}"
        print(f"gpen: {text}", file=sys.stderr)
    failed = any(not problem.is_notice for problem in problems) or tally.statuses[Status.FAILED] or tally.stale
    return 1 if failed else 0


def _check(arguments: argparse.Namespace, options: Options) -> None:
    """OptionError for flags that do not fit together."""
    if arguments.engine != "ray":
        for flag, value in (("--workers", arguments.workers), ("--cpus-per-worker", arguments.cpus_per_worker)):
            if value is not None:
                raise OptionError(f"{flag} is for --engine ray only.")
    if arguments.aligned and (arguments.faces or arguments.region or arguments.people):
        raise OptionError("With --aligned the whole picture is the face: leave --faces, --region and --person out.")
    if arguments.aligned and options.video:
        raise OptionError("With --aligned the whole picture is the face, so none is tracked: leave --video out.")
    parse_face_numbers(options.only_faces)
    if arguments.sign and not arguments.provenance:
        raise OptionError("A signature says what was done to the photo: leave --sign or --no-provenance out.")


def _require_one(inputs: Sequence[str]) -> None:
    """PhotoError where files are named of which none exists: that is said before a model is looked for."""
    if not any(glob.has_magic(text) or os.path.lexists(text) for text in inputs):
        raise PhotoError("\n".join(f"{text} does not exist. Check the name and the folder." for text in inputs))


def _output(arguments: argparse.Namespace) -> Path | None:
    """The folder or file of the results; None for files beside the photos. OptionError where it has to be given."""
    output: Path | None = arguments.output
    folders = [Path(text) for text in arguments.paths if os.path.isdir(text)]  # noqa: PTH112 -- it never raises
    if output is not None or (not folders and arguments.engine != "ray"):
        return output
    # Of "." and ".." the name is known only in full.
    only = folders[0].resolve() if len(folders) == len(arguments.paths) == 1 else None
    if only is None or not only.name:
        raise OptionError("Say where the results go: -o FOLDER.")
    return only.with_name(f"{only.name}_{find_task(arguments.task).done}")


def _plan(arguments: argparse.Namespace, video: bool) -> tuple[list[Job], list[Problem]]:
    """The photos and their results; PhotoError if a result would replace an input file."""
    if arguments.output is None:
        jobs, problems = plan_beside(arguments.paths, find_task(arguments.task).done)
    else:
        jobs, problems = plan(arguments.paths, arguments.output)
    damage, protect, report = arguments.damage, arguments.protect, arguments.report
    for masks in (damage, protect):
        if masks is not None:
            # A folder of masks may lie inside the folder of photos.
            jobs = [job for job in jobs if real_path(masks) not in real_path(job.photo.path).parents]
    check_results_spare(damage, "damage mask", jobs)
    check_results_spare(protect, "protection mask", jobs)
    check_results_spare(arguments.region, "region", jobs)
    for person in arguments.people:
        check_results_spare(person, "person's photo", jobs)
    if video:
        jobs = in_order(jobs)
    if report is not None:
        given = [*(job.photo.path for job in jobs), *(job.target for job in jobs), arguments.faces]
        check_output_file(report, "report", suffix=".json", given=given)
        make_folder(report.parent)  # fail now rather than after the work
    return jobs, problems


def _config(arguments: argparse.Namespace, options: Options) -> RunConfig:
    task, preset = find_task(arguments.task), PRESETS.get(arguments.preset or "")
    model = arguments.model or (preset.model if preset else None)
    # Ray chooses among the devices of its machines.
    device = arguments.device if arguments.engine == "ray" else str(pick_device(arguments.device))
    networks = find_networks(model, search_folders(arguments.models_path), task.name)
    return RunConfig(
        weights=networks.first,
        other_weights=networks.others,
        options=options,
        output=OutputOptions(
            compare=arguments.compare,
            save_faces=arguments.save_faces,
            report=arguments.report is not None,
            overwrite=arguments.overwrite,
            quality=arguments.quality,
            provenance=arguments.provenance,
            sign=tuple(arguments.sign) if arguments.sign else None,
        ),
        task_name=task.name,
        faces=arguments.faces,
        region=arguments.region,
        background=arguments.background_model,
        damage=arguments.damage,
        protect=arguments.protect,
        people=tuple(arguments.people),
        aligned=arguments.aligned,
        salvage=arguments.salvage,
        folders=tuple(arguments.models_path),
        device=device,
    )


def _cluster(arguments: argparse.Namespace) -> Cluster | None:
    if arguments.engine != "ray":
        return None
    return Cluster(workers=arguments.workers, cpus=arguments.cpus_per_worker)


def _track(config: RunConfig, jobs: Sequence[Job]) -> TrackedFaces:
    """The faces of all frames, including those whose results exist; none if all results exist."""
    info = inspect(config.weights)
    if info.is_task_known:
        require_task(info, config.task_name)  # fail now rather than after the first pass
    if not config.output.overwrite and all(job.has_result for job in jobs):
        return TrackedFaces("", {}, "")
    needed = config.needs.detector
    loader = config.loader(str(pick_device(config.device)))
    people = loader.people(config.needs.people, config.options)
    faces = config.untracked_faces(None if needed is None else loader.detector(needed))

    def find(photo: PhotoFile, picture: Picture) -> list[Face]:
        return [found.face for found in faces.source(photo, picture).find(picture.photo)]

    with frame_progress(len(jobs)) as bar:
        tracked = track_video(
            jobs,
            find,
            dataclasses.replace(config.choice(people), min_score=faces.min_score),
            config.options,
            config.region_mask(),
            bar.update,
            name=faces.name,
            salvage=config.salvage,
        )
    print(tracked.summary)
    return tracked


def _process(
    engine: Engine, jobs: Sequence[Job], report: Path | None, tally: Tally, record: ResumeRecord | None
) -> Tally:
    """Run the engine, show its progress, and write the report even if the run is interrupted."""
    print(f"{engine.title}.")
    known = engine.known(jobs) if report is not None else {}
    try:
        with Progress(len(jobs)) as progress:

            def ends(result: PhotoResult) -> None:
                result = with_advice(result if record is None else record.add(result))
                tally.add(result)
                progress.ends(result)

            engine.run(jobs, progress.starts, ends, progress.on_tile)
    finally:
        if report is not None:
            write_report(report, jobs, tally.results, known)
            engine.reported()
    engine.close()
    return tally
