"""What to run: a suite file, its grids and the runs it stands for."""
