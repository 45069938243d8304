"""Engines that share tasks, such as videos and clips, among worker processes."""
