"""The pages of a study's results and of a masking audit, made from templates."""

from denseam.study.report.pages import as_markdown, counts_of, headline_text, render

__all__ = ["as_markdown", "counts_of", "headline_text", "render"]
