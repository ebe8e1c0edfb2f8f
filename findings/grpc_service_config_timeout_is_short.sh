#!/usr/bin/env bash
# gRPC: a timeout in the service config is one to two seconds shorter than it says.
#
# grpcio 1.85.1. One would guess that `"timeout": "1s"` of a method in `grpc.service_config` gives a call as
# long as `timeout=1.0` beside the call does. Between one and two seconds are taken off, as many for every
# call of a process, in the next process other ones. With 1 s or less each call ends in DEADLINE_EXCEEDED
# before it is sent, with 2 s the server has between nothing and one second. A timeout beside the call keeps
# its length, but cannot lengthen the other. The server is told of no deadline (`time_remaining()` is that of
# a call without one), so it works on for nobody.
# For a service: a deadline that is written once for all clients, of less than a second as candidates need,
# stops all traffic; one of two seconds fails now and then, by the process that asks.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.1
cd "$folder"
cat > program.py <<'PROGRAM'
import json
import threading
import time
from concurrent import futures

import grpc

remaining = []
stopped = threading.Event()


class Handler(grpc.GenericRpcHandler):
    """Answers `quick` at once, everything else when the server stops."""

    def service(self, details):
        def answer(request, context):
            remaining.append(context.time_remaining())
            if request != b"quick":
                stopped.wait(60)
            return b"done"

        return grpc.unary_unary_rpc_method_handler(answer)


server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Handler(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def call(request, configured=None, beside=None):
    """Status of a call, how many calls the server saw, seconds until the client had its end."""
    method = {"name": [{}]} | ({"timeout": configured} if configured else {})
    options = [("grpc.service_config", json.dumps({"methodConfig": [method]}))]
    remaining.clear()
    started = time.monotonic()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        try:
            channel.unary_unary("/service/method")(request, timeout=beside)
            status = "OK"
        except grpc.RpcError as error:
            status = error.code().name
    seconds = time.monotonic() - started
    sent = len(remaining)
    print(f"{request}, configured {configured}, beside {beside}: {status}, sent {sent}, {seconds:.2f} s")
    return status, sent, seconds


print("grpcio", grpc.__version__)
assert call(b"quick")[:2] == ("OK", 1)
assert call(b"quick", "0.9s")[:2] == ("DEADLINE_EXCEEDED", 0), "0.9 s are enough now"
assert call(b"quick", "0.9s", beside=30.0)[:2] == ("DEADLINE_EXCEEDED", 0), "the longer one counts now"
assert call(b"quick", "30s")[:2] == ("OK", 1)
assert remaining[0] > 1_000, "the server is told of the deadline now"
assert call(b"long", beside=4.0)[2] >= 3.99
status, sent, seconds = call(b"long", "4s")
assert (status, sent) == ("DEADLINE_EXCEEDED", 1) and seconds < 3.7, "4 s are 4 s now"
stopped.set()
server.stop(None)
PROGRAM
"$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
