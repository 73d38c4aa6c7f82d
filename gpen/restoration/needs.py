"""Which components a run needs, told from its task and options before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..options import Options
from ..tasks import Task


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Which components a run needs, besides its network."""

    detector: str | None = None
    """The name of the detector, or "auto"; None for none."""
    mask: str | None = None
    """The mask: "parsed" needs a parser, "auto" takes one that is there; None where it is not chosen."""
    occlusion: str = "none"
    """The name of the occlusion model, or "auto"; "none" for none."""
    guard: bool = False
    """Whether identities are guarded."""
    upscaler: Path | None = None
    """The file of the background model."""
    damage: Path | None = None
    """The mask of the damage, or a folder of masks."""
    protect: Path | None = None
    """The mask of what is protected, or a folder of masks."""
    people: tuple[Path, ...] = ()
    """Photos of the people whose faces are worked on; none for everybody's."""

    @classmethod
    def of(
        cls,
        task: Task,
        options: Options,
        *,
        aligned: bool = False,
        faces_given: bool = False,
        upscaler: Path | None = None,
        damage: Path | None = None,
        protect: Path | None = None,
        people: Sequence[Path] = (),
    ) -> Needs:
        """What a task needs with these options.

        aligned: each photo is one face. faces_given: faces need not be detected.
        """
        faces = not task.is_aligned(aligned)
        return cls(
            detector=options.detector if faces and not faces_given else None,
            mask=options.mask if faces and "mask" in task.options else None,
            occlusion=options.occlusion if faces and "occlusion" in task.options else "none",
            guard=faces and "identity_guard" in task.options and options.identity_guard > 0,
            upscaler=upscaler if task.accepts_background else None,
            damage=damage if task.needs_damage_mask else None,
            protect=protect if task.keeps_photo else None,
            people=tuple(people) if faces else (),
        )
