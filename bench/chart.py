def write(rows, path): pass
