"""Statistical models that analyses fit to what they have aggregated, in numpy and scipy.

Belongs here: closed formulas and their fits, each with its source. Does not: analyses, and anything that reads events.
Finding the analyses does not import these modules, so they may import heavy libraries; an analysis imports them late.
"""
