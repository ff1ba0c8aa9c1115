"""The plane that paths are drawn in: its window, contours of the loss, projections and what they leave out."""
