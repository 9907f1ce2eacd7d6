"""The report of a study: a pure function from results and pictures to one HTML file."""

from denseam.study.report.render import render

__all__ = ["render"]
