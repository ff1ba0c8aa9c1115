"""The plane in which paths are drawn: its window, contours of the loss, and projections on it."""
