"""Figures of speed, latency, processor and memory, beside those of what one would otherwise write."""
