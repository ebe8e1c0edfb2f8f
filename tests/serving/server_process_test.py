"""The settings of a serving process, each looked at in a process of its own."""

import os
import subprocess
import sys


def test_tensorflow_threads_of_a_serving_process():
    code = (
        "from serving.server_process import prepare_process; prepare_process(); import os, recall;"
        "import tensorflow as tf; tf.constant([1.0]) + 1.0;"
        "print(len(os.listdir('/proc/self/task')))"
    )

    def count(**variables):
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables
        )
        return int(process.stdout)

    # What the environment says counts more than what a tower is best with.
    assert count(TF_NUM_INTRAOP_THREADS="9") - count() == 8


def test_threads_of_numpys_products_in_a_serving_process():
    code = (
        "import numpy as np; from serving.server_process import prepare_process;"
        "prepare_process(); from threadpoolctl import threadpool_info;"
        "print({pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'})"
    )

    def counts(**variables):
        free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=free | variables
        )
        return process.stdout.strip()

    assert counts() == "{1}"
    assert counts(OPENBLAS_NUM_THREADS="2") == "{2}"


def test_collections_of_a_serving_process_pass_over_what_was_imported():
    code = (
        "import gc; import serving.server; before = len(gc.get_objects());"
        "from serving.server_process import prepare_process; prepare_process();"
        "print(before, len(gc.get_objects()), gc.get_freeze_count())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    before, left, frozen = map(int, process.stdout.split())
    assert before > 100_000  # TensorFlow is among them.
    assert left < 1_000
    assert frozen > 0.5 * before
