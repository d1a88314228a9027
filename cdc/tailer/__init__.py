"""Composition of the service: sources, routes and Kafka put together, run, logged and stopped."""
