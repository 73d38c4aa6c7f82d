"""What is measured on a GPU: the parts of :mod:`bench.gpu_check`, each a generator of figures."""
