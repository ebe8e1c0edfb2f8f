#!/usr/bin/env bash
# pyarrow.fs: a copy to S3 that fails ends as if it had worked, and names decide about bytes.
#
# `pyarrow.fs.copy_files` does not close the file that it writes; its destructor does, and only prints what
# went wrong. With `allow_delayed_open=True` (one request for a small file in place of three) everything that
# S3 refuses shows there: a copy into a bucket that does not exist raises nothing. And
# `open_output_stream("x.gz")` compresses what is written, because `compression="detect"` is the default: the
# object of a file `x.gz` then holds gzip of gzip.
#
# Seen with pyarrow 25.0.1. What to do: read and write by oneself and `close()` explicitly; pass
# `compression=None`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  pyarrow==25.0.1 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
cd "$folder"
cat > program.py <<'PROGRAM'
import logging
import os

from moto.server import ThreadedMotoServer
from pyarrow import fs

logging.getLogger("werkzeug").setLevel(logging.ERROR)
os.environ.update(
    AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
s3 = fs.S3FileSystem(
    endpoint_override=f"http://{host}:{port}", allow_delayed_open=True, allow_bucket_creation=True
)
with open("small", "wb") as file:
    file.write(b"content")
fs.copy_files("small", "no-such-bucket/small", fs.LocalFileSystem(), s3)
print("pyarrow.fs.copy_files into a bucket that does not exist: no error")
try:
    with s3.open_output_stream("no-such-bucket/small") as file:
        file.write(b"content")
    raise SystemExit("a file that is closed by hand has no error any more")
except OSError as error:
    assert "NO_SUCH_BUCKET" in str(error)
    print("the same, closed by hand: NO_SUCH_BUCKET")
s3.create_dir("bucket")
with s3.open_output_stream("bucket/x.gz") as file:
    file.write(b"already compressed")
stored = s3.open_input_file("bucket/x.gz").read()
print("stored as x.gz:", stored[:2].hex(), "which is not what was written")
assert stored[:2] == b"\x1f\x8b", "the name says nothing any more"
os._exit(0)
PROGRAM
"$folder/env/bin/python" program.py
