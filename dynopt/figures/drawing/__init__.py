"""How anything is drawn: pictures, styles, legends, labels, axes, and the words of titles and captions."""
