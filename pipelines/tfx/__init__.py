"""The jobs as components of TensorFlow Extended; see docs/tfx.md. Needs an environment with TFX."""
