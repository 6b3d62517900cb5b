"""From trained weights to a published model: graphs built by hand, checked against PyTorch, put in place at once.

    exported = export_forecaster(network, folder, unit="MW")          # or export_text_generator, export_classifier
    verified = forecaster_parity(network, exported)                   # or text_parity, …; raises ParityError
    …                                                                 # card, plots, tokenizer.json: into `folder`
    training = Training(…, parity_max_abs_error=verified.max_abs_error)
    version = publish(verified, Path("models"), name=…, description=…, license=…, training=training, forecast=…)

`publish` takes nothing but what a parity check gave, and every plain file that lies in `folder` goes along.
`ExportedForecaster`, `ExportedTextGenerator` and `ExportedClassifier` run a folder of graphs, published or not.
"""

from training.export.any_series import export_any_series
from training.export.classifier import export_classifier
from training.export.exported import Exported, Verified
from training.export.forecaster import export_forecaster
from training.export.parity import ParityError
from training.export.parity_any_series import any_series_parity
from training.export.parity_classifier import classifier_parity
from training.export.parity_forecaster import forecaster_parity
from training.export.parity_segments import segment_parity
from training.export.parity_text import text_parity
from training.export.publishing import publish
from training.export.runner import ExportedClassifier, ExportedForecaster, ExportedTextGenerator
from training.export.segment_forecaster import export_segment_forecaster
from training.export.text_generator import export_text_generator

__all__ = [
    "Exported",
    "ExportedClassifier",
    "ExportedForecaster",
    "ExportedTextGenerator",
    "ParityError",
    "Verified",
    "any_series_parity",
    "classifier_parity",
    "export_any_series",
    "export_classifier",
    "export_forecaster",
    "export_segment_forecaster",
    "export_text_generator",
    "forecaster_parity",
    "publish",
    "segment_parity",
    "text_parity",
]
