"""Claims and tables of the sample results; see ``sample_results``."""

from typing import Any

NAMES = ("n2", "n3", "n20", "n30")
EPS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)


def _claim(
    name, where, claim, paper, rows, verdict="reproduced", note=None, beside=()
) -> dict[str, Any]:
    return {"id": name, "where": where, "claim": claim, "paper": paper, "rows": rows,
            "beside": list(beside), "verdict": verdict, "note": note}  # fmt: skip


def claims() -> list[dict[str, Any]]:
    diagonal = [f"transfer/{n}/{n}" for n in NAMES]
    return [
        _claim("error-n2", "Section 2", "Test error of n = 2", "1.51 %", ["errors/n2"]),
        _claim("error-n3", "Section 2", "Test error of n = 3", "1.44 %", ["errors/n3"]),
        _claim("error-n20", "Section 2", "Test error of n = 20", "1.61 %", ["errors/n20"]),
        _claim("error-n30", "Section 2", "Test error of n = 30", "1.80 %", ["errors/n30"]),
        _claim("fig2", "Fig. 2", "Memories are features at small n, digits at large n",
               "picture", [], "cannot be compared",
               "The paper shows pictures and no number. Ours stand under Memories."),
        _claim("votes", "NIPS16", "At n = 30 a large part of the memories votes for one class",
               "over 40 %", ["memories/one-class"]),
        _claim("decide", "NIPS16", "At n = 30 one memory decides most images",
               "over 8000 of 10,000", ["memories/single"], beside=["memories/one-class"]),
        _claim("fig5-diagonal", "Fig. 5", "Boundary images fool the model they were made on",
               "about 99 %", diagonal, "better", "One step of length 0.1 behind the boundary."),
        _claim("fig5-small-large", "Fig. 5", "Images of small n do not fool n = 30",
               "97 % still correct", ["transfer/n2/n30", "transfer/n3/n30"]),
        _claim("fig5-large-small", "Fig. 5", "Images of n = 30 fool small n", "they transfer",
               ["transfer/n30/n2", "transfer/n30/n3"]),
        _claim("fig7-self", "Fig. 7", "Rubbish of n = 2 is believed by n = 2", "98.5 %",
               ["rubbish/n2/n2"]),
        _claim("fig7-large", "Fig. 7", "Rubbish of small n means nothing to large n", "about 10 %",
               [f"rubbish/{s}/{v}" for s in ("n2", "n3") for v in ("n20", "n30")]),
        _claim("fig7-n30", "Fig. 7", "Rubbish of n = 30 is believed by every model", "no loss",
               [f"rubbish/n30/{v}" for v in NAMES], "not reproduced",
               "Between 15 and 55 % of the descents end on a plateau where no memory is active and "
               "all Y are 0. Tried: noise of variance 0.1 instead of deviation 0.1, smaller "
               "first steps, 1,000 epochs instead of 250. Among those that converged, the loss "
               "is below 1 %.", beside=["rubbish/n2/n2"]),
        _claim("fig8-rise", "Fig. 8", "The error rises slower at large n", "picture",
               ["sign/n2/eps=0.3", "sign/n30/eps=0.3"], "not reproduced",
               "It does through the objective of the paper, whose gradient is exactly zero for 28 "
               "% of the images at n = 30. Through the log-energy, which hides nothing, the gap is "
               "half as wide."),
        _claim("sec6-other", "Section 6",
               "Iterative and least-likely-class attacks give very similar results",
               "\u201cvery similar results\u201d", [], "cannot be compared",
               "The paper gives no step size and no number."),
        _claim("distance", "Fig. 4", "Large n moves further to its boundary", "picture",
               [f"boundary/l2/{n}" for n in ("n2", "n30")]),
    ]  # fmt: skip


def _table(name, title, caption, columns, rows, stage=None) -> dict[str, Any]:
    lines = [{"head": head, "cells": cells} for head, cells in rows]
    return {"id": name, "title": title, "stage": stage or name, "caption": caption,
            "columns": columns, "rows": lines}  # fmt: skip


def tables() -> list[dict[str, Any]]:
    four = [f"on {name}" for name in NAMES]
    return [
        _table("errors", "Test errors.", "10,000 images.", ["Model", "Here", "Paper"],
               [(n, [f"errors/{n}", {"text": p}]) for n, p in
                zip(NAMES, ("1.51 %", "1.44 %", "1.61 %", "1.80 %"), strict=True)]),
        _table("rubbish", "Mean confidence on rubbish.", "Rows: who made them. beta_sm = 3.2.",
               ["Images of", *four], [(s, [f"rubbish/{s}/{v}" for v in NAMES]) for s in NAMES]),
        _table("transfer", "Errors on images behind the boundary.", "Rows: who made the images.",
               ["Images of", *four], [(s, [f"transfer/{s}/{v}" for v in NAMES]) for s in NAMES]),
        _table("distances", "Median distances.", "L2, in [0, 1] units.", ["model", "here", "there"],
               [(n, [f"boundary/l2/{n}", None]) for n in NAMES], stage="boundary"),
        _table("sign", "Errors by eps.", "One step along the sign of the gradient, visible units.",
               ["Model", *(f"eps = {e:g}" for e in EPS)],
               [(n, [f"sign/{n}/eps={e:g}" for e in EPS]) for n in NAMES]),
    ]  # fmt: skip
