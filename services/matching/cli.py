"""Commands of matching: `twintally matching search`."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Recognise registered references in published pictures.", no_args_is_help=True)


@app.callback()
def matching() -> None:
    """Recognise registered references in published pictures."""


@app.command()
def search(
    references: Annotated[
        Path, typer.Option(help="Folder of references; a subfolder is one twin, a file beside it another.")
    ],
    queries: Annotated[Path, typer.Option(help="Folder of pictures to search.")],
    out: Annotated[Path, typer.Option(help="File to write, one line of JSON per query.")],
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    explain: Annotated[Path | None, typer.Option(help="Folder for a picture per match; made when missing.")] = None,
) -> None:
    """Find the references that each query shows, however edited."""
    from services.matching.recognition.folder import search_folder  # numba and OpenCV load only when they are needed

    for option, folder in (("--references", references), ("--queries", queries)):
        _check_images(option, folder)
    if explain is not None:
        _make_folder(explain, beside=(references, queries))
    _check_file(out)
    try:
        summary = search_folder(references, queries, out, jobs, explain)
    except BrokenProcessPool:
        typer.echo(f"a process was ended from outside, perhaps for its memory: --jobs {jobs}, try fewer", err=True)
        raise typer.Exit(1) from None
    told = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(summary.outcomes.items()))
    typer.echo(f"{summary.references} references, {sum(summary.outcomes.values())} queries: {told}")
    typer.echo(
        f"processor time on queries: {summary.cpu_ms / 1000:.2f} s from decode to decision, "
        f"{summary.phase_cpu_ms / 1000:.2f} s in all"
    )


def _check_images(option: str, folder: Path) -> None:
    from services.matching.recognition.folder import images_below

    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise typer.BadParameter(f"{folder} {what}; name a folder of images", param_hint=option)
    if not images_below(folder):
        raise typer.BadParameter(
            f"no images below {folder}; put files such as .jpg, .png or .webp there, or name another folder",
            param_hint=option,
        )


def _check_file(out: Path) -> None:
    """Learn before minutes of work that the results have a place."""
    if not out.absolute().parent.is_dir():
        raise typer.BadParameter(
            f"there is no folder {out.absolute().parent}; make it first, or name another file", param_hint="--out"
        )
    try:
        out.open("a").close()
    except OSError as problem:
        raise typer.BadParameter(
            f"{out} cannot be written ({problem.strerror}); name another file", param_hint="--out"
        ) from None


def _make_folder(pictures: Path, beside: tuple[Path, Path]) -> None:
    """Pictures of matches are no input: the next run would search them too."""
    for folder in beside:
        if pictures.resolve().is_relative_to(folder.resolve()):
            raise typer.BadParameter(
                f"{pictures} lies in {folder}, whose images are read; name a folder elsewhere", param_hint="--explain"
            )
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise typer.BadParameter(
            f"the folder {pictures} cannot be made ({problem.strerror}); name another", param_hint="--explain"
        ) from None
