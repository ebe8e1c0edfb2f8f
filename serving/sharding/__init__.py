"""One answer from a catalogue that lies on several machines."""
