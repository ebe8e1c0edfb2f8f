"""The HTTP API as an OpenAPI document, made from the declarations of what callers may say."""
