"""The `suasion` command. Nothing heavy is imported before a command needs it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from suasion import __version__
from suasion.errors import SuasionError, fail

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"suasion {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
) -> None:
    """Which of two images do people prefer for a prompt, and why."""


@app.command()
def compare(
    image_a: Annotated[Path, typer.Argument(help="The first image: JPEG, PNG or WebP.")],
    image_b: Annotated[Path, typer.Argument(help="The second image.")],
    model: Annotated[Path, typer.Option(help="Folder of a released reasoner.")],
    prompt: Annotated[str, typer.Option(help="What the images were made for.")],
    both_orders: Annotated[bool, typer.Option(help="Ask in both orders of presentation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Compare two images."""
    from suasion.judge import Judge

    try:
        found = Judge(model).compare(prompt, image_a, image_b, both_orders=both_orders)
    except SuasionError as error:
        fail(error)
    if as_json:
        print(json.dumps(found._asdict(), ensure_ascii=False))
        return
    name = {"a": image_a, "b": image_b}.get(found.choice or "")
    if name is None:
        print(
            "no clear preference" + (": the answer changes with the order" if both_orders and found.explanation else "")
        )
    else:
        print(f"people prefer {name} (image {'1' if found.choice == 'a' else '2'})")
    print(f"because: {found.explanation or found.completion}")


@app.command()
def report(
    run_a: Annotated[
        str, typer.Argument(help="A run: a folder with its outputs, or a git revision of this repository.")
    ],
    run_b: Annotated[str, typer.Argument(help="The run to compare with it.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Compare two runs pair by pair: what changed sides."""
    from suasion.evaluation.compare import compare_runs

    try:
        compare_runs(run_a, run_b, out)
    except SuasionError as error:
        fail(error)


@app.command()
def profile(
    path: Annotated[
        str, typer.Argument(help="Votes: a CSV, Parquet or JSON (lines) file, a pattern, s3://..., hub:...")
    ],
    name: Annotated[str, typer.Option(help="What to call the profile and these votes.")],
    images: Annotated[str | None, typer.Option(help="Where image paths start; left out: beside the votes.")] = None,
    base: Annotated[str, typer.Option("--from", help="The profile that gives everything but the data.")] = "avt",
    column: Annotated[list[str] | None, typer.Option(help="KEY=NAME, what a column holds: prompt=caption.")] = None,
    value: Annotated[list[str] | None, typer.Option(help="VALUE=MEANING, what a vote says: 0=a.")] = None,
    force: Annotated[bool, typer.Option(help="Replace a profile of that name.")] = False,
) -> None:
    """Look at a votes file, and write a profile that runs on it."""
    from suasion.votes.profile import make_profile

    try:
        make_profile(path, name, images=images, base=base, columns=column or [], values=value or [], force=force)
    except SuasionError as error:
        fail(error)


@app.command()
def snapshot(
    profile: Annotated[Path, typer.Argument(help="A profile: profiles/mine.yaml.")],
) -> None:
    """Make a profile take new votes: renew its snapshots."""
    from suasion.votes.profile import renew_snapshots

    try:
        renew_snapshots(profile)
    except SuasionError as error:
        fail(error)
