"""Reports: one self-contained HTML file each, readable offline, in dark and light, on a phone and on paper."""

from corinth.report.page import render
from corinth.report.run import run_report

__all__ = ["render", "run_report"]
