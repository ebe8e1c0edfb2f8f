#!/usr/bin/env bash
# gRPC: the retries of a service config end, in silence, with requests of 256 KiB.
#
# grpcio 1.85.1. One would guess that `retryPolicy` with `"maxAttempts": 4` gives each call that ends in
# UNAVAILABLE four attempts, whatever it asks. Of a request of 262,000 bytes it does; of one of 262,144 the
# first failure is the answer, in `grpc` and in `grpc.aio` alike. A request must be kept to be sent again,
# and the room for that is 256 KiB for a call, metadata counted, before compression; a larger one counts as
# committed to its first attempt. The channel option `grpc.per_rpc_retry_buffer_size` is the limit; neither
# the policy nor an error speaks of it.
# For a service: single users are retried through a restart, batches (2,000 users with 20 ids each, vectors
# of 128 numbers for 1,000) are not, though they are the ones that cost most to repeat by hand, and no test
# with a small request shows it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.1
cd "$folder"
cat > program.py <<'PROGRAM'
import asyncio
import json
from concurrent import futures

import grpc

METHOD = "/recall.Recall/Recommend"
POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.02s",
    "backoffMultiplier": 1.5,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIG = {"methodConfig": [{"name": [{"service": "recall.Recall"}], "retryPolicy": POLICY}]}
OPTIONS = [("grpc.service_config", json.dumps(CONFIG))]
attempts = []


class Restarting(grpc.GenericRpcHandler):
    """A server that counts what arrives and is never available."""

    def service(self, details):
        def answer(request, context):
            attempts.append(len(request))
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

        return grpc.unary_unary_rpc_method_handler(answer)


server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Restarting()])
target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()


def call(size, options=(), compression=None):
    with grpc.insecure_channel(target, options=[*OPTIONS, *options]) as channel:
        try:
            channel.unary_unary(METHOD)(bytes(size), timeout=20, compression=compression)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE


async def call_async(size):
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
        try:
            await channel.unary_unary(METHOD)(bytes(size), timeout=20)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE


def count(name, run):
    attempts.clear()
    run()
    print(f"{name}: {len(attempts)} attempts")
    return len(attempts)


print("grpcio", grpc.__version__)
assert count("1,000 bytes", lambda: call(1_000)) == 4
assert count("262,000 bytes", lambda: call(262_000)) == 4
assert count("262,144 bytes", lambda: call(262_144)) == 1, "large requests are retried now"
assert count("3,000,000 bytes", lambda: call(3_000_000)) == 1
assert count("262,144 bytes, aio", lambda: asyncio.run(call_async(262_144))) == 1
gzip = grpc.Compression.Gzip
assert count("300,000 zeros, by gzip", lambda: call(300_000, compression=gzip)) == 1
wide = [("grpc.per_rpc_retry_buffer_size", 2**20)]
assert count("262,144 bytes, a buffer of 1 MiB", lambda: call(262_144, wide)) == 4
server.stop(None)
PROGRAM
"$folder/env/bin/python" program.py
