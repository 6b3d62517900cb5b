"""What the fields of messages mean: one word means one thing, in whatever message it stands.

`Message.field` is for a field that means something else there, or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELDS: Mapping[str, str] = {
    # Which model, which session, and where it stands.
    "model": "the model's name, or name/version",
    "InvocationBody.model": "the model's name, or name/version; X-Amzn-SageMaker-Target-Model goes before it",
    "model_name": "the model, as in the path",
    "version": "a version of the model; the newest if left out",
    "id": "a name of your own for this request, which comes back with the answer",
    "OpenSessionBody.id": "the session's id: letters, digits and . _ : -, at most 128; one is made up if left out",
    "ForkBody.id": "the new session's id; one is made up if left out",
    "ForkFrame.id": "a name of your own for this frame, which comes back with its answer; the new session's id is "
    "session_id",
    "session_id": "the session that is meant",
    "CompletionBody.session_id": "the session to go on with, which is opened if there is none; no session if left out",
    "SeriesInput.session_id": "the session to go on with, which is opened if there is none; no session if left out",
    "ForkFrame.session_id": "the new session's id; one is made up if left out",
    "sequence_id": "the sequence this request belongs to; 0 or an empty text for none",
    "sequence_start": "whether the sequence begins anew with this request",
    "sequence_end": "whether the sequence is over after this request",
    "position": "where the session is expected to stand before this request, in observations or tokens taken in: makes "
    "it safe to send again",
    "idempotency_key": "a key of your own; the same request sent again with it is not carried out again",
    "time_to_live_s": "seconds without a request after which the session expires",
    "anomaly_threshold": "the anomaly score, above 0 and at most 1, from which the session's values are flagged; the "
    "model's own if left out",
    "ForkBody.anomaly_threshold": "of the new session; its parent's if left out",
    "ForkFrame.anomaly_threshold": "of the new session; its parent's if left out",
    "durability": "what answers wait for: their commit (sync), nothing while it follows (async), or none at all (none)",
    "snapshot": "a session's snapshot, in base64: the new session goes on from it",
    "sessions": "the next steps of each session; each is answered by itself",
    # Series.
    "values": "the next observations, in the model's unit; null where one is missing",
    "timestamps": "ISO 8601, one for each value; gaps between them are filled as missing",
    "first_timestamp": "ISO 8601, of the session's first value, for models that look at the calendar",
    "start_timestamp": "ISO 8601, of the first value of the series",
    "start": "the time of the first value, as in 2024-07-01 00:00:00",
    "static_covariates": "what is known of the whole series, by the names in the model's description",
    "future_covariates": "what is known of every step beforehand, by the names in the model's description: one number "
    "for each value sent, or for each step ahead",
    "series": "the values, null where one is missing; a multivariate series has a row of them for every step",
    "frequency": "time between two values, such as 1h or D; the model's, or any where the model only counts steps",
    "horizon": "steps to look ahead",
    "quantiles": "levels between 0 and 1 to tell of each step; the model's own if left out",
    "levels": "of central intervals to tell of each step: 0.8 for the bounds between which 80 % are to fall",
    "samples": "how many sample paths to return beside the quantiles",
    "aggregate": "of the steps ahead taken together, whose distributions to tell: sum, mean, min, max",
    "scenarios": "several futures of the covariates, by names of your own, in place of future_covariates: all are "
    "drawn from the same random numbers, and each is compared with the first",
    "ForecastSessionsBody.sessions": "what to tell of each session; each is answered by itself",
    "num_samples": "how many sample paths to return, where samples are asked for",
    "output_types": "what to tell of each step: mean, quantiles, samples",
    "steps": "how many values a forecaster draws and takes for observed",
    "instances": "the series to forecast",
    "configuration": "what to tell of the steps ahead",
    "target": "the values of the series, null or NaN where one is missing; in a session, what is new of it",
    "cat": "the number of a category for each categorical covariate, in the model's order",
    "dynamic_feat": "a list for each future covariate, in the model's order, for every step of series and horizon",
    # Text.
    "text": "text to take in, for a text model",
    "tokens": "token ids to take in, for a text model, instead of text",
    "text_input": "the text to continue",
    "prompt": "the text to continue, several of them, token ids, or lists of those; in a session, what is new",
    "max_tokens": "tokens to generate at most; 0 generates none",
    "temperature": "how freely to draw: 1 as the model predicts, towards 0 ever likelier, 0 always the likeliest",
    "top_p": "draw among the likeliest tokens that together have this probability; 0 takes the likeliest",
    "stop": "a text, or up to four, before which the generation ends; a session then stands before it: to go on "
    "behind it, send the stop text as the next prompt, or observe it",
    "stream": "whether pieces are sent as they come, as server-sent events",
    "GenerateParameters.stream": "what the path says anyway: accepted, and of no effect",
    "n": "completions of each prompt",
    "stream_options": "what a stream carries besides text",
    "include_usage": "whether the stream ends with the number of tokens",
    "user": "accepted, and of no effect",
    "echo": "whether the text begins with the prompt",
    "top_k": "draw from so many of the likeliest tokens; 0 from all",
    "min_p": "leave out tokens less likely than this share of the likeliest one's probability",
    "typical_p": "keep the tokens of the most usual information, up to this mass",
    "repetition_penalty": "divides the positive logits of tokens that came before, and multiplies negative ones",
    "presence_penalty": "taken off the logits of tokens that came before at all",
    "frequency_penalty": "taken off the logits of tokens for each time they came before",
    "penalty_window": "how many tokens before the penalties count; 64 if left out",
    "logit_bias": "what is added to the logits of tokens, by token id; -100 bans one",
    "regex": "a regular expression that the whole text is to match",
    "json_schema": "a JSON schema that the whole text is to fit, as an object or as text; the JSON comes without white "
    "space unless the schema's x-guidance has whitespace_flexible true",
    "grammar": "a grammar that the whole text is to be of, in Lark or GBNF",
    "best_of": "draw so many texts and answer those whose tokens are likeliest",
    "beams": "search the likeliest texts with so many beams, in place of drawing; 0 draws",
    "length_penalty": "beams are ranked by their log-probability over their length to this power; 1 if left out",
    "logprobs": "tell the log-probability of every token, and so many of the likeliest in its place",
    "checkpoint": "the name of the checkpoint that the new session begins at",
    "ForkBody.position": "the end of an earlier turn that the new session begins at; now, if left out",
    "ForkFrame.position": "the end of an earlier turn that the new session begins at; now, if left out",
    "CheckpointBody.name": "letters, digits and . _ : -, at most 64",
    "ScoreBody.model": "the model's name, or name/version, to score a text by from its beginning",
    "ScoreBody.session_id": "the session that the text would follow, which does not move",
    "ScoreBody.text": "the text to score",
    "ScoreBody.tokens": "token ids to score, instead of text",
    "per_token": "whether to tell each token's log-probability as well",
    "seed": "of what is drawn: the same seed at the same place gives the same again",
    # Known to clients of the borrowed schemas; only the value that changes nothing is served.
    "include_obfuscation": "only false is served",
    "suffix": "only null is served",
    # Tensors, and what stands around them.
    "inputs": "the input tensors, by name",
    "SeriesForecastBody.inputs": "the series to forecast, each answered by itself",
    "outputs": "the outputs that are wanted; all if left out",
    "name": "the tensor's name, as in the model's metadata",
    "SeriesInput.name": "a name of your own for the series, which comes back with its forecast",
    "shape": "the tensor's shape: batch and steps first",
    "datatype": "such as FP32 or INT64",
    "data": "the values, flat or nested as the shape says; null where one is missing",
    "parameters": "what else the request says, by name",
    "InputTensor.parameters": "binary_data_size, for a tensor whose content follows the JSON",
    "OutputTensor.parameters": "binary_data: whether the output's content follows the JSON of the answer",
    "priority": "accepted, and of no effect: whoever waits takes turns",
    "timeout": "accepted, and of no effect: a client that gives up hangs up",
    "ready": "whether to list only what serves",
    "options": "how far to look ahead, and what to tell",
    "metadata": "your own, which comes back with the answer",
    "type": "what the frame asks for",
    "SeriesInput.type": "univariate_time_series or multivariate_time_series",
}


def add_meanings(schemas: Mapping[str, Any]) -> None:
    """Give every field of the messages' schemas its meaning, unless it tells one already."""
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            meaning = FIELDS.get(f"{name}.{field}") or FIELDS.get(field)
            if meaning is not None:
                described.setdefault("description", meaning)
