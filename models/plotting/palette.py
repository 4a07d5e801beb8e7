"""Colours of candidates and classes; imports no Matplotlib."""

# Okabe and Ito 2008, "Color Universal Design": distinguishable with any kind of colour vision.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d31")
