"""Runs the application on a port of this machine until it is told to stop; then finishes what is in flight."""

import signal
import socket

import uvicorn

from bert_tf.errors import InputError
from bert_tf.serving.app import make_app
from bert_tf.serving.exported import Exported


def serve(path, *, host, port, name, limits):
    """Serves a SavedModel; returns when SIGTERM or SIGINT came and all requests in flight are answered.

    Args:
        path: the folder that `bert-tf export` wrote.
        host, port: where to listen; port 0 takes a free one. The address is printed.
        name, limits: see `bert_tf.serving.app`.

    Raises:
        InputError: no such export, an address that is taken or not of this machine.
    """
    # With the protocol named asyncio sees that it is TCP, and sends the small parts of an answer without delay.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot listen on {host} port {port}: {error}; give another --host or --port") from None
        exported = Exported(path)
        exported.answers([(b"",) * len(exported.inputs)])  # what the first call has to make ready is made here
        app = make_app(exported, name, limits)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=60, lifespan="off")
        # uvicorn raises the signal that stopped it once more when all is done: here that is the good end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        listening.listen(1024)  # from here on a client may come
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        print(f"Serving {path} on {address} as {name!r}; stop it with Ctrl-C.", flush=True)
        uvicorn.Server(config).run(sockets=[listening])
        app.state.batcher.close()
