"""The gRPC door: messages in, answers out."""
