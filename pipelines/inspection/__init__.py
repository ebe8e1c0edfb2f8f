"""`recall tensorboard` and `recall doctor`: looks at a run, and at the machine."""
