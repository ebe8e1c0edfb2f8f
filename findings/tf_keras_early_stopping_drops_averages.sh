#!/usr/bin/env bash
# tf_keras: `use_ema=True` changes nothing in a training that stops early and restores the best weights.
#
# tf_keras 2.20.1, tensorflow-cpu 2.20.0. One would guess that with averaged weights the averages are
# validated, decide when to stop, and are what `fit` leaves; "you don't need to do anything", says the
# optimizer. The averages lie beside the model until the last epoch has ended, so every `val_loss`,
# `ModelCheckpoint` and `EarlyStopping` sees the plain weights. Then `fit` puts the averages into the model,
# and `EarlyStopping(restore_best_weights=True)`, which acts after that, takes them out again: losses, epochs
# and weights are equal, bit by bit, with `use_ema` and without. Here that is a validation loss of 1.122 after
# three epochs, where the averages had 1.055. Without the callback `fit` leaves weights that no line of its
# log is about.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0 tf_keras==2.20.1
cd "$folder"
cat > program.py <<'PROGRAM'
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

from importlib import metadata

import numpy as np
import tensorflow as tf

generator = np.random.default_rng(0)
inputs = generator.normal(size=(512, 8)).astype(np.float32)
targets = inputs @ generator.normal(size=(8, 1)) + generator.normal(size=(512, 1))
train, valid = (inputs[:256], targets[:256]), (inputs[256:], targets[256:])


def fit(use_ema, callbacks):
    """Validation losses of the epochs, that of what is left, that of the averages, and the weights."""
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(8,))])
    optimizer = tf.keras.optimizers.SGD(0.1, use_ema=use_ema, ema_momentum=0.95)
    model.compile(optimizer, "mse")
    history = model.fit(
        *train, validation_data=valid, epochs=12, batch_size=8, verbose=0, callbacks=callbacks
    ).history["val_loss"]
    left, weights, averaged = model.evaluate(*valid, verbose=0), model.get_weights(), None
    if use_ema:
        model.set_weights([np.array(v) for v in optimizer._model_variables_moving_average])
        averaged = model.evaluate(*valid, verbose=0)
    return history, left, averaged, weights


def stop():
    return [tf.keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)]


print("tf_keras", metadata.version("tf_keras"), "tensorflow", tf.__version__)
runs = {
    ("EarlyStopping", False): fit(False, stop()),
    ("EarlyStopping", True): fit(True, stop()),
    ("12 epochs", False): fit(False, []),
    ("12 epochs", True): fit(True, []),
}
for (name, use_ema), (history, left, averaged, _) in runs.items():
    of_averages = f", averages {averaged:.3f}" if use_ema else ""
    print(
        f"{name}, use_ema={use_ema}: {len(history)} epochs, best {min(history):.3f}, last {history[-1]:.3f}, "
        f"left {left:.3f}{of_averages}"
    )
plain, averages = runs["EarlyStopping", False], runs["EarlyStopping", True]
assert plain[0] == averages[0] and len(plain[0]) < 12, "averages are validated now"
assert all(np.array_equal(a, b) for a, b in zip(plain[3], averages[3])), "averages are left now"
assert averages[2] < averages[1] - 0.02
whole = runs["12 epochs", True]
assert runs["12 epochs", False][0] == whole[0] and whole[1] == whole[2] and whole[1] not in whole[0]
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
