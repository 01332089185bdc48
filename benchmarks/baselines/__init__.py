"""Servers to compare with, each as plain as one would write it by hand."""
