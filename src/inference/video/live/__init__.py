"""Streams without an end: cameras and addresses, their newest frame, reconnection, a live page and published overlays."""
