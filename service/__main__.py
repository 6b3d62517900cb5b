"""`python -m service`: serve the models of a folder, and show one request to try."""

from __future__ import annotations

import argparse
import gc
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.access.key_commands import main as keys_command
from service.access.keys import KeyFileError
from service.contract.manifest import Manifest
from service.journal.commands import main as journal_command
from service.logging_setup import set_up_logging
from service.models.device import DeviceUnavailable
from service.protocols.context import Context
from service.server import make_server
from service.settings import Settings, SettingsError, add_flags, load_settings, settings_table, variable

_TURN_SECONDS = 0.0005
"""How long a thread that is busy keeps the interpreter from others: the journal's would wait for that at every step."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["journal"]:
        return journal_command(arguments[1:])
    if arguments[:1] == ["keys"]:
        return keys_command(arguments[1:])
    epilog = (
        "`python -m service journal --help` tells how to look at the file of a journal, and "
        "`python -m service keys --help` how to make API keys."
    )
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__, epilog=epilog, allow_abbrev=False)
    parser.add_argument("--settings-table", action="store_true", help="print the settings as a Markdown table and exit")
    add_flags(parser)
    given = vars(parser.parse_args(arguments))
    if given.pop("settings_table"):
        print(settings_table())
        return 0
    try:
        settings = load_settings(flags=given)
        _check_addresses(settings)
    except SettingsError as error:
        print(f"python -m service: {error}", file=sys.stderr)
        return 2
    set_up_logging(settings.log_level, settings.log_format)
    try:
        server = make_server(settings, _greet)
    except (DeviceUnavailable, KeyFileError) as error:
        print(f"python -m service: {error}", file=sys.stderr)
        return 2
    _collect_seldom()
    sys.setswitchinterval(_TURN_SECONDS)
    server.run()
    return 0


def _collect_seldom() -> None:
    """Let the garbage collector look where it may find something: neither at what was imported, nor at each crowd.

    Some hundred requests at once are more objects than its usual threshold, so that it would run at every turn of the
    event loop, and now and then walk through a million sessions' indexes, to find nothing.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _check_addresses(settings: Settings) -> None:
    """Find an address that cannot be listened on before the models are loaded, and say so in one line.

    Raises:
        SettingsError: names the setting that is wrong.
    """
    if settings.grpc_port > 0 and settings.grpc_port == settings.port:
        raise SettingsError(f"{variable('grpc_port')}: expected another port than {variable('port')}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, 0), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"{variable('host')}: expected an address of this machine, or 0.0.0.0 for all of them: {_reason(error)}"
        ) from None
    for name, no_port in (("port", ""), ("grpc_port", " or -1 for none")):
        port = getattr(settings, name)
        try:
            if port > 0:
                socket.create_server((settings.host, port), family=family).close()
        except OSError as error:
            raise SettingsError(
                f"{variable(name)}: port {port} cannot be listened on: {_reason(error)}. "
                f"Choose another, 0 for a free one{no_port}"
            ) from None


def _reason(error: OSError) -> str:
    """What the system says, without the address that Python adds to it."""
    return str(error.strerror).partition(" (while attempting")[0]


def _greet(context: Context, port: int) -> None:
    host = context.settings.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{port}"
    grpc = f" and over gRPC at {host}:{context.ports['grpc']}" if "grpc" in context.ports else ""
    models = context.service.repository.models()
    names = ", ".join(model.manifest.id for model in models) or "no model, as yet,"
    print(f"Unroll serves {names} at {address}{grpc} (the interface is described at {address}/docs)", flush=True)
    if not models:
        print(f"no model: {_why_none(context.settings.models)}", flush=True)
    for key, reason in context.service.repository.rejected.items():
        print(f"kept out: {key}: {reason}", flush=True)
    if context.service.journal.trouble is not None:
        print(f"sessions cannot be kept: {context.service.journal.trouble}", flush=True)
    if models:
        print(f"Try:\n\n{_example(models[0].manifest, address, with_key=context.access.required)}\n", flush=True)


def _why_none(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}: see {variable('models')}; once it is there, reload, or start again"
    return f"{folder} holds none that can be served, in folders NAME/VERSION: publish one, then reload"


def _example(manifest: Manifest, address: str, *, with_key: bool) -> str:
    """A request, or two, that work as they stand, but for the API key where one must be shown."""
    key = " -H 'authorization: Bearer KEY'" if with_key else ""
    body: dict[str, Any]
    if manifest.forecast is not None and not manifest.forecast.future_covariates:
        path = "/v1/timeseries/forecast"
        series = {
            "type": "univariate_time_series",
            "name": "example",
            "series": [14.1, 12.8, 15.2, 16.0, 13.3, 11.9, 12.4],
            "frequency": manifest.forecast.frequency or "1D",
            "start_timestamp": "2024-07-01T00:00:00Z",
        }
        body = {"model": manifest.name, "inputs": [series], "options": {"horizon": 3, "quantiles": [0.1, 0.9]}}
    elif manifest.text is not None:
        path = "/v1/completions"
        body = {"model": manifest.name, "prompt": "", "max_tokens": 200, "temperature": 0.8, "seed": 1}
    elif manifest.classify is not None:
        opened = _post(key, f"{address}/v1/sessions", {"model": manifest.name, "id": "example"})
        return opened + "\n" + _post(key, f"{address}/v1/sessions/example/observe", {"text": "abc"})
    else:
        return f"curl -s{key} {address}/v1/models/{manifest.name}"
    return _post(key, f"{address}{path}", body)


def _post(key: str, url: str, body: dict[str, Any]) -> str:
    return f"curl -s{key} {url} -H 'content-type: application/json' \\\n  -d '{json.dumps(body)}'"


if __name__ == "__main__":
    sys.exit(main())
