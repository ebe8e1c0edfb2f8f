"""Keras layers of the user tower."""

from recall import legacy_keras

legacy_keras.require()
