"""The colours of candidates and classes, without an import of Matplotlib."""

# Okabe and Ito 2008, "Color Universal Design": told apart with any kind of colour vision.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d31")
