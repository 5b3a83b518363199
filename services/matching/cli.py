"""Commands of matching: `twintally matching search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Recognise registered references in published pictures.", no_args_is_help=True)


@app.callback()
def matching() -> None:
    """Recognise registered references in published pictures."""


@app.command()
def search(
    references: Annotated[Path, typer.Option(help="Folder of references; a subfolder is one twin.", file_okay=False)],
    queries: Annotated[Path, typer.Option(help="Folder of pictures to search.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="File to write, one line of JSON per query.", dir_okay=False)],
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Find the references that each query shows, however edited."""
    from services.matching.recognition.folder import search_folder  # numba and OpenCV load only when they are needed

    for folder in (references, queries):
        if not folder.is_dir():
            raise typer.BadParameter(f"there is no folder {folder}")
    answered, errors = search_folder(references, queries, out, jobs)
    typer.echo(f"{answered} queries answered, {errors} with an error")
