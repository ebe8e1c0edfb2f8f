"""What an event is beside its item: order, kind, weight, time, what was shown before."""
