"""The global half of deduplication: signatures in, clusters out, with memory bounded by a part and not by the corpus.

find.py     the steps in order, and the file of clusters
tasks.py    what workers do in each step
criteria.py by what the survivor of a cluster is chosen
prefer.py   the same as numbers
"""
