"""Runtimes of a frame's networks, a module each, all prepared from one ``torch.export`` at a fixed image size."""
