"""Pictures of rankings for papers and reports: the first results framed, curves, each query's gain.

The only package that imports matplotlib (extra ``train``), in ``curves``.
"""
