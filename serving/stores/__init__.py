"""The one door to files that are not on this machine: S3, Google Cloud Storage, HDFS."""
