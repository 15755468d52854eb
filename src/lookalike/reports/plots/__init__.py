"""Plots of rankings for papers and reports: framed results, curves, gain of each query.

The only package that imports matplotlib (extra ``train``), in ``curves``.
"""
