"""Whether `tf.keras` is Keras 2, which the model needs. Imports TensorFlow when asked."""


def require() -> None:
    """Refuses a process whose `tf.keras` is Keras 3.

    TensorFlow chooses when `tf.keras` is first used: a notebook that did so before it imported
    `recall` keeps Keras 3 until it is restarted.

    Raises:
        ImportError: It is Keras 3.
    """
    import tensorflow as tf

    if not tf.keras.Model.__module__.startswith("tf_keras."):
        raise ImportError(
            "`tf.keras` is Keras 3 in this process, because it was used before `recall` was "
            "imported. Restart the process (the notebook's kernel) and import `recall` first, or "
            "set TF_USE_LEGACY_KERAS=1 in its environment."
        )
