"""Items that change while they are served: durable, then visible."""
