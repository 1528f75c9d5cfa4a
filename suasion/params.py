"""`params.yaml` as typed models: one section per stage, parsed once; an unknown or wrong key is an error that names it.

A profile is a whole file of this form in `profiles/`; `make repro PROFILE=x` copies it to `params.yaml`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from suasion.errors import SuasionError
from suasion.params_errors import explain, refuse_credentials, syntax
from suasion.votes.sources import source_names

ROOT = Path(__file__).resolve().parent.parent
PARAMS = "params.yaml"

Share = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Snapshot = Annotated[str, Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")]
"""sha256 over votes and images; for `hub:` paths the commit."""


class Section(BaseModel):
    """A part of `params.yaml`: unknown keys are errors, values are not coerced across kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TinyModel(Section):
    """A small Qwen2.5-VL, built here and taught to see by captioning rendered scenes."""

    kind: Literal["tiny"]
    hidden: Positive
    layers: Positive
    vision_hidden: Positive
    vision_depth: Positive
    image_size: Positive  # pixels a side; more are scaled down
    vocab_size: Positive
    steps: Steps  # of captioning
    batch_size: Positive  # images
    learning_rate: float


class HubModel(Section):
    """A model of the Hugging Face hub, pinned to a commit."""

    kind: Literal["hub"]
    repo: str
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    max_pixels: Positive  # per image, after the processor


Model = Annotated[TinyModel | HubModel, Field(discriminator="kind")]


class Base(Section):
    reasoner: Model
    listener: Model | None  # null: the listener starts from the reasoner's base


class WorldSource(Section):
    """The embedded world: rendered scenes and simulated voters with known reliabilities."""

    name: Literal["world"]
    pairs: dict[Literal["train", "val", "test", "ood"], Steps]
    voters: Positive
    votes_per_pair: Positive
    careless_share: Share  # voters who guess
    left_share: Share  # voters who always choose the first image
    tie_share: Share  # how often any voter ties
    no_difference_share: Share  # of the pairs: both images show the prompt, nobody can be right
    image_size: Positive


class Columns(Section):
    """Which column of a table holds what. Only `prompt`, the images and what the encoding needs must be there."""

    prompt: str
    image_a: str | None = None  # a path, the image's bytes, or a mapping with `bytes` and `path`
    image_b: str | None = None
    images: str | None = None  # rankings: a list of images
    choice: str | None = None  # encoding choice: one person's judgement
    count_a: str | None = None  # encoding counts: votes for each side
    count_b: str | None = None
    count_tie: str | None = None
    rank: str | None = None  # encoding ranking: a list, 1 is best, equal ranks are ties
    pair_id: str | None = None
    annotator_id: str | None = None
    count: str | None = None
    weight: str | None = None
    voted_at: str | None = None
    split: str | None = None
    model_a: str | None = None
    model_b: str | None = None


class TableSource(Section):
    """Votes of your own: any CSV, Parquet or JSON (lines) whose columns are named here."""

    name: Literal["table"]
    label: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]*$")]  # what these votes are called: the column `source`
    path: str  # file or pattern, absolute or below the data folder; s3://BUCKET/KEY; hub:OWNER/NAME@REVISION
    images: str | None  # where image paths start: a folder or s3:// prefix; null: beside the file
    encoding: Literal["choice", "counts", "ranking"]
    columns: Columns
    choices: dict[str, Literal["a", "b", "tie", "both_bad"]]  # what values mean beside the usual ones (left, 1, ...)
    snapshot: Snapshot


def _known_source(name: str) -> str:
    if name not in source_names():
        raise ValueError(f"a source is one of {', '.join(source_names())}")
    return name


class PublicSource(Section):
    """A public data set, in the layout in which it is published; `name` is its file in `suasion/votes/sources`."""

    name: Annotated[str, AfterValidator(_known_source)]
    path: str  # folder or file, absolute or below the data folder; s3://BUCKET/KEY
    snapshot: Snapshot


def _kind_of_source(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return str(name) if name in ("world", "table") else "public"


Source = Annotated[
    Annotated[WorldSource, Tag("world")]
    | Annotated[TableSource, Tag("table")]
    | Annotated[PublicSource, Tag("public")],
    Discriminator(_kind_of_source),
]


class EvaluationSet(Section):
    """Prompts and images that a model will be measured on elsewhere: pairs that overlap with it are dropped."""

    name: str
    path: str  # CSV, Parquet or JSON (lines), as of a table source
    prompt: str  # column
    images: list[str]  # columns with paths or bytes; empty: only prompts are compared
    snapshot: Snapshot


def label_of(source: WorldSource | TableSource | PublicSource) -> str:
    """What the column `source` of its votes holds."""
    return source.label if isinstance(source, TableSource) else source.name


def _no_label_twice(sources: list[Source]) -> list[Source]:
    labels = [label_of(source) for source in sources]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"two sources are called {', '.join(twice)}; votes are told apart by that name")
    return sources


class Ingest(Section):
    sources: Annotated[list[Source], Field(min_length=1), AfterValidator(_no_label_twice)]
    evaluation_sets: list[EvaluationSet]
    max_megapixels: float
    min_side: Positive  # pixels


class Validate(Section):
    min_votes: Positive  # rows of the votes table
    min_pairs: Positive
    max_null_annotator: Share
    max_tie_rate: Share
    max_side_share: Share  # of all decided votes for one side: more, and the order of the images tells who won


class VoterRules(Section):
    """When all votes of a person are left out."""

    min_votes: Positive  # decided votes before anything is said of a voter
    min_accuracy: Share  # estimated
    max_side_share: Share  # of the decided votes for one side
    min_seconds: Annotated[float, Field(ge=0)]  # median from one vote to the next, where times are known


class Filter(Section):
    labels: Literal["one_coin", "confusion", "bradley_terry", "majority", "weighted_majority"]
    ties: Literal["drop", "half", "keep"]  # pairs that people cannot decide: out of training, by half votes, or kept
    min_votes: Positive  # decided votes per pair
    min_margin: Share  # |p_a - 0.5| at least
    voters: VoterRules
    copies: dict[str, Annotated[int, Field(ge=0, le=12)]]  # by source, bits of 192 up to which two images are one
    max_prompt_chars: Positive
    max_prompt_tokens: Positive  # by the reasoner's processor, images included
    ngram: Positive  # words in a row that a prompt may not share with an evaluation set
    splits: Literal["source"] | dict[Literal["train", "val", "test"], Share]  # "source", or shares of the prompts
    ood_generators: list[str]  # held out: in no split but ood
    max_component: Share  # of the pairs that hang together by prompts and images


class Shard(Section):
    samples_per_shard: Positive  # at most
    bytes_per_shard: Positive  # at most; see suasion.shards.writer.plan
    max_side: Positive  # pixels; larger images are scaled down and encoded again
    location: Annotated[str, Field(pattern="^s3://[^/]+(/.*)?$")] | None  # where shards are kept; null: in data/shards


class Lora(Section):
    rank: Positive
    alpha: Positive
    target: str  # regular expression over module names


class Supervised(Section):
    """Supervised steps of a model: AdamW, cosine schedule, gradient norm clipped at 1."""

    steps: Steps
    batch_size: Positive
    learning_rate: float
    lora: Lora | None


class Warmstart(Supervised):
    lessons: Literal["world", "none"]  # where true explanations come from; none: the base model already explains
    lot_steps: Steps  # the last ones, with answers drawn by lot


class Listener(Supervised):
    lessons: Literal["world", "none"]
    corrupted_share: Share  # of the explanations that it is trained on
    no_explanation_share: Share


Engine = Literal["local", "ray"]
"""Where scoring runs: in the stage's process, or on all devices of a Ray cluster (`suasion/engine.py`)."""


class Prescore(Section):
    engine: Engine
    batch_size: Positive


class RewardWeights(Section):
    format: float
    accuracy: float
    listener: float


class VllmColocate(Section):
    """vLLM in the training processes, on their GPUs."""

    mode: Literal["colocate"]
    gpu_memory_utilization: Share
    tensor_parallel_size: Positive  # GPUs that hold one copy; divides launch.processes


class VllmServer(Section):
    """vLLM on GPUs of its own, started by `vllm serve`; its memory and tensor parallelism are told to it there."""

    mode: Literal["server"]
    base_url: Annotated[str, Field(pattern="^https?://")]
    timeout: Annotated[float, Field(gt=0)]  # seconds to wait until it answers


Vllm = Annotated[VllmColocate | VllmServer, Field(discriminator="mode")]


class Launch(Section):
    """GRPO as several processes of this machine, by `accelerate launch`."""

    processes: Positive  # one for each GPU; 1 is as null
    config: Annotated[str, Field(pattern=r"^[\w.-]+\.yaml$")]  # file in configs/: how they share the model


class Train(Section):
    steps: Steps
    prompts_per_step: Positive
    generations: Annotated[int, Field(ge=2)]  # completions in a group
    micro_batch: Positive  # completions in one forward and backward of one process
    max_completion_tokens: Positive
    temperature: float
    learning_rate: float
    kl: float  # TRL's beta
    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo"]
    rewards: RewardWeights
    checkpoint_every: Positive
    lora: Lora | None
    bf16: bool
    gradient_checkpointing: bool
    grouped: bool  # compute a prompt and its images once for all of its completions
    vllm: Vllm | None
    launch: Launch | None  # null: one process, the stage's own
    sft_baseline: bool  # train the same warm start with the same compute by SFT on the same pairs


class Evaluate(Section):
    engine: Engine
    batch_size: Positive
    max_pairs: Positive  # per split, the first by hash
    samples: Annotated[int, Field(ge=2, multiple_of=2)]  # answers drawn to each test pair, half in either order


class Measure(Section):
    resamples: Positive  # of a bootstrap


class Report(Section):
    gallery: Steps  # examples


class Release(Section):
    name: str
    license: str


class Params(Section):
    profile: str
    seed: Annotated[int, Field(ge=0)]
    threads: Positive
    base: Base
    ingest: Ingest
    validate_: Annotated[Validate, Field(alias="validate")]
    filter: Filter
    shard: Shard
    warmstart: Warmstart
    listener: Listener
    prescore: Prescore
    train: Train
    evaluate: Evaluate
    measure: Measure
    report: Report
    release: Release


def load_params(path: Path | str = PARAMS) -> Params:
    """Parse a parameter file.

    Raises:
        SuasionError: the file is missing, is no YAML, or has an unknown key or a value that is not allowed; the first
            such key is named with its value and what is allowed. Or it holds credentials, which are not repeated.
    """
    path = Path(path)
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))  # as DVC reads it: 1e-5 is a number
    except FileNotFoundError:
        raise SuasionError(
            f"no parameter file {path.name}", where=str(path.resolve()), do="run from the project's folder"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SuasionError(f"not YAML: {syntax(error)}", where=str(path), do="mend the syntax") from None
    refuse_credentials(content, path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise explain(error, path) from None


def data_folder() -> Path:
    """Where source data outside the project lies: $SUASION_DATA, else `../shared/data` beside the project."""
    return Path(os.environ.get("SUASION_DATA") or ROOT.parent / "shared" / "data")
