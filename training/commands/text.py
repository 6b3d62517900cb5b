"""`python -m training text`: from a text to a trained text generator in a run folder, and on to a published model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from tokenizers import Tokenizer

from training import distributed
from training.data.text import TextStreams, load_text, split_held_out
from training.data.tokenizers import (
    TOKENIZER_FILE,
    TokenizerKind,
    build_tokenizer,
    encode,
    save_tokenizer,
    start_token,
    unknown_token,
)
from training.evaluation.text_baselines import text_baselines
from training.evaluation.text_metrics import next_token_loss, quick_validation, text_metrics
from training.evaluation.text_samples import sample_text
from training.fit import FitResult, FitSettings, fit
from training.model_name import model_name
from training.networks.text_generator import TextGenerator, TextGeneratorSettings
from training.options import settings_as_options
from training.publish_text import publish_text
from training.run_record import begin_run, record_command, save_result
from training.stopped import stopped

TEMPERATURES = (0.5, 0.8, 1.0)
SAMPLE_TOKENS = 400


@dataclass(frozen=True)
class TextDataSettings:
    """How a text becomes tokens."""

    tokenizer: TokenizerKind = field(default="char", metadata={"help": "what a token is"})
    vocabulary_size: int = field(default=4096, metadata={"help": "tokens of a bpe tokenizer"})
    held_out: float = field(default=0.1, metadata={"help": "share held out, at the end of each file"})
    separator: str | None = field(
        default=None, metadata={"help": "what stands between documents (\\n allowed); held out are then whole ones"}
    )


@settings_as_options
def text(
    data: Annotated[Path, typer.Option(help="a UTF-8 text file, or a folder of .txt files")],
    text_data: TextDataSettings,
    network_settings: TextGeneratorSettings,
    fit_settings: FitSettings,
    run_folder: Annotated[Path | None, typer.Option(help="for checkpoint and results; runs/<name> otherwise")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in the run folder")] = False,
    publish: Annotated[bool, typer.Option(help="publish the model at the end; `export` does it later")] = True,
    models: Annotated[Path, typer.Option(help="model repository to publish into")] = Path("models"),
    name: Annotated[str | None, typer.Option(help="model name; the data's name otherwise")] = None,
    description: Annotated[str | None, typer.Option(help="one sentence for the model card")] = None,
    license: Annotated[str, typer.Option(help="of the model, which follows from that of its data")] = "not stated",
) -> None:
    """Train a text generator on contiguous streams of a text, measure it on the end, publish it."""
    name = model_name(name, data)
    run = run_folder or Path("runs") / name
    source = load_text(data)
    record = record_command(
        "text",
        source.name,
        source.sha256,
        fit_settings.seed,
        settings={
            "data": asdict(text_data),
            "network": asdict(network_settings),
            "fit": asdict(fit_settings),
            "card": {"name": name, "description": description, "license": license},
        },
    )
    with distributed.process_group():
        first = distributed.rank() == 0
        if first:
            begin_run(run, record, resume=resume)
        prepared = prepare(source.files, text_data, run, resume=resume)
        torch.manual_seed(fit_settings.seed)
        vocabulary_size = prepared.tokenizer.get_vocab_size()
        network = TextGenerator(vocabulary_size, network_settings).to(distributed.local_device(device))
        result = fit_text(network, prepared, fit_settings, run, resume)
        if result.interrupted:
            raise stopped(run)
        if not first:
            return

    finish(network.cpu(), prepared, run, record.seed)
    if publish:
        Console().print(f"published {publish_text(run, models, name)}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Prepared:
    """A text in two parts, their tokens, and the tokenizer that the first part made."""

    training_text: str
    held_out: str
    tokenizer: Tokenizer
    training_tokens: np.ndarray
    held_out_tokens: np.ndarray


def prepare(files: Sequence[str], settings: TextDataSettings, run: Path, *, resume: bool) -> Prepared:
    """Split the text and turn it into tokens; the tokenizer sees the training part alone and is made once a run."""
    separator = settings.separator.replace("\\n", "\n") if settings.separator else None
    training_text, held_out = split_held_out(files, settings.held_out, separator)
    if distributed.rank() == 0 and not (resume and (run / TOKENIZER_FILE).exists()):
        save_tokenizer(build_tokenizer(settings.tokenizer, training_text, settings.vocabulary_size), run)
    distributed.wait()
    tokenizer = Tokenizer.from_file(str(run / TOKENIZER_FILE))
    tokens = [encode(tokenizer, settings.tokenizer, part) for part in (training_text, held_out)]
    return Prepared(training_text, held_out, tokenizer, *tokens)


def fit_text(network: TextGenerator, prepared: Prepared, settings: FitSettings, run: Path, resume: bool) -> FitResult:
    """Fit the network to the training part, keeping the weights that do best on the held-out part."""
    streams = TextStreams(
        prepared.training_tokens, settings.batch_size, settings.bptt_length, settings.bptt_stride, settings.seed
    )
    validate = quick_validation(network, prepared.held_out_tokens, start_token(prepared.tokenizer))
    return fit(network, next_token_loss, streams, validate, settings, run, resume)


def finish(network: TextGenerator, prepared: Prepared, run: Path, seed: int) -> None:
    """Measure the network, let it write, and keep what was found in the run folder."""
    tokenizer = prepared.tokenizer
    begin, unknown = start_token(tokenizer), unknown_token(tokenizer)
    metrics = text_metrics(network, prepared.held_out_tokens, prepared.held_out, begin)
    baselines = text_baselines(prepared.training_text, prepared.held_out)
    samples = {
        str(temperature): sample_text(network, tokenizer, [begin], SAMPLE_TOKENS, temperature, seed, unknown)
        for temperature in TEMPERATURES
    }
    save_result(run, {"metrics": metrics, "baselines": baselines, "samples": samples})
    Console().print_json(data={"metrics": metrics, "baselines": baselines})
