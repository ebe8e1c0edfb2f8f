source "$REPOSITORY/tests/documents/prologues/shared.sh"
# A reader has a bucket with a log: here of an S3 server that ends with the shell.
export AWS_ENDPOINT_URL=http://127.0.0.1:8600 AWS_ACCESS_KEY_ID=reader AWS_SECRET_ACCESS_KEY=reader
export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true XDG_CACHE_HOME="$PWD/cache-home"
moto_server -H 127.0.0.1 -p 8600 &
until curl -s -o /dev/null "$AWS_ENDPOINT_URL"; do sleep 0.2; done
make_log
python - <<'PYTHON'
import os

import boto3

store = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
store.create_bucket(Bucket="shop")
store.upload_file("events.csv", "shop", "logs/events.csv")
store.upload_file("items.csv", "shop", "items.csv")
PYTHON
