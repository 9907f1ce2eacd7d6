"""The formulas of energy functions F on a card, one file each, named after F.

Each has ``constants(F)`` and ``slope_constants(F)``, the arguments A, B, C below for F and F', and

    cleaned(scale)                    the scale as it is stored
    prepared(scale)                   the form in which ``relative`` takes it
    relative(field, prepared, A, B, C)    F(field) / F(scale), or the same of F'
    gap_factor(scale, T, A)           F(scale) / F(T), at most 2^1000; float64
    log2_pull(scale, T, A)            log2 of F'(scale) / F(T); float64

T is a pointer's value, A, B and C are constants to the compiler.
"""
