"""Trainable models: towers and losses put together."""

from recall import legacy_keras

legacy_keras.require()
