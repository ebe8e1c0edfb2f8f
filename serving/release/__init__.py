"""A release on disk: exported, sealed, versioned, and whole or not there."""
