"""From the run folder of a text generator to its next published version: export, parity, card, one rename."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from service.contract.manifest import FileReference, TextTask, sha256_of
from training.checkpoint import load_checkpoint
from training.data.tokenizers import TOKENIZER_FILE, start_token, unknown_token
from training.export import export_text_generator, publish, text_parity
from training.networks.text_generator import TextGenerator, TextGeneratorSettings
from training.report import Card, TextSection, write_card
from training.run_card import epoch_losses, run_card
from training.run_record import RunRecord, load_record, load_result

CARD_METRICS = ("nats_per_character", "bits_per_character", "bits_per_byte")


def publish_text(run: Path, models: Path, name: str) -> Path:
    """Publish the best network of a finished run as the next version of `models/<name>`, and return that folder.

    Raises:
        TrainingError: the run is not finished.
        ParityError: the graphs do not compute what the network does.
    """
    record, result = load_record(run), load_result(run)
    tokenizer = Tokenizer.from_file(str(run / TOKENIZER_FILE))
    network = load_text_generator(run, record, tokenizer)
    begin, unknown = start_token(tokenizer), unknown_token(tokenizer)
    card = _card(run, record, result, name)
    with tempfile.TemporaryDirectory() as folder:
        exported = export_text_generator(network, Path(folder), start_token=begin, unknown_token=unknown)
        verified = text_parity(network, exported)
        shutil.copyfile(run / TOKENIZER_FILE, Path(folder) / TOKENIZER_FILE)
        write_card(Path(folder), card, _section(record, result))
        return publish(
            verified,
            models,
            name=name,
            description=card.description,
            license=card.license,
            text=TextTask(
                tokenizer=FileReference(file=TOKENIZER_FILE, sha256=sha256_of(run / TOKENIZER_FILE)),
                tokenizer_kind=record.settings["data"]["tokenizer"],
                vocabulary_size=tokenizer.get_vocab_size(),
                start_token=begin,
                unknown_token=unknown,
            ),
            training=record.provenance(result, verified.max_abs_error),
        )


def load_text_generator(run: Path, record: RunRecord, tokenizer: Tokenizer) -> TextGenerator:
    """The network of a run with the weights that validated best."""
    network = TextGenerator(tokenizer.get_vocab_size(), TextGeneratorSettings(**record.settings["network"]))
    network.load_state_dict(load_checkpoint(run)["state"]["best_weights"])
    return network.eval()


def _card(run: Path, record: RunRecord, result: dict[str, Any], name: str) -> Card:
    network = record.settings["network"]
    general = f"Writes text as in {record.data_name}: {network['cell']}, {record.settings['data']['tokenizer']} tokens."
    streamed, *others = ((label, _of_protocol(result["metrics"], key)) for key, label in _protocols(name).items())
    return run_card(
        record,
        name,
        general,
        metrics=streamed[1],
        baselines=dict(others) | result["baselines"],
        loss=epoch_losses(run, "nats per token"),
    )


def _protocols(name: str) -> dict[str, str]:
    return {
        "streamed": name,
        "reset_every_256": f"{name}, state reset every 256 tokens",
        "reset_every_64": f"{name}, state reset every 64 tokens",
    }


def _of_protocol(metrics: dict[str, float], protocol: str) -> dict[str, float]:
    return {name: metrics[f"{protocol}_{name}"] for name in CARD_METRICS}


def _section(record: RunRecord, result: dict[str, Any]) -> TextSection:
    metrics, data = result["metrics"], record.settings["data"]
    unit = "documents" if data["separator"] else "text"
    evaluated = (
        f"On the last {data['held_out']:.0%} of the {unit}: {metrics['characters']:,.0f} characters, "
        f"{metrics['tokens']:,.0f} tokens, each predicted once from those before it. No weight was fitted to them; "
        "they chose the epoch that was kept. The first row is streamed, with one state from begin to end, as in "
        f"service: {metrics['streamed_nats_per_token']:.4f} nats per token. The baselines count characters of the "
        "training text: all alike, by frequency, and after the four before (Witten and Bell's back-off)."
    )
    samples = {f"Temperature {temperature}": text for temperature, text in result["samples"].items()}
    return TextSection(evaluated, samples)
