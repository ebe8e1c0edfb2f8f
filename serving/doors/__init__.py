"""What both doors share: who may come in, how much at a time, whether requests are answered."""
