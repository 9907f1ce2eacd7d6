/* Powers of vectors. Included by the bodies of power functions, see cpu_loops_real.h. */
/* out = x^n for n >= 1 by repeated squaring from the top bit down, so that nothing on the way
 * exceeds the larger of x and the result. */
INLINE void NAME(squarings)(vec *out, const vec *x, int n) {
    for (int v = 0; v < VECTORS; v++) out[v] = x[v];
    for (int bit = (1 << (31 - __builtin_clz((unsigned)n))) >> 1; bit; bit >>= 1) {
        for (int v = 0; v < VECTORS; v++) out[v] *= out[v];
        if (n & bit)
            for (int v = 0; v < VECTORS; v++) out[v] *= x[v];
    }
}

/* out = x^power for x >= 0. x^0 is 1 only where x > 0: F_1 has no slope at zero. `whole` is a
 * constant wherever this is inlined. */
INLINE void NAME(power)(vec *out, const vec *x, int whole, exponent power) {
    if (!whole) {
        for (int v = 0; v < VECTORS; v++)
            for (int l = 0; l < LANES; l++)
                out[v][l] = x[v][l] > 0 ? POW(x[v][l], (REAL)power.value) : 0;
    } else if (power.inner == 0) {
        for (int v = 0; v < VECTORS; v++)
            out[v] = (vec)((bits)(x[v] > 0) & (bits)((vec){0} + 1));
    } else {
        NAME(squarings)(out, x, power.inner);
        if (power.outer > 1) {
            vec inner[VECTORS];
            for (int v = 0; v < VECTORS; v++) inner[v] = out[v];
            NAME(squarings)(out, inner, power.outer);
        }
    }
}
