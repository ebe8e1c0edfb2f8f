"""Over which devices and machines a training spreads."""
