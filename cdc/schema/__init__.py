"""Schemas of events: made from an EventMap, kept in files, compared and checked; and AsyncAPI made of them."""
