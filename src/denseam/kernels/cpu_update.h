/* Included twice by cpu_update.c, with REAL = float and REAL = double. */
typedef struct {
    int64_t K, I;
    REAL *memories, *velocity;  /* (K, I) */
    const REAL *gradient;       /* (K, I) */
    REAL momentum, gradient_scale, learning_rate, floor;
} NAME(update);

WIDEST static void NAME(update_item)(const void *work, int64_t index, void *scratch) {
    const NAME(update) *u = work;
    (void)scratch;
    for (int64_t k = index * ROWS; k < u->K && k < (index + 1) * ROWS; k++) {
        REAL *restrict xi = u->memories + k * u->I, *restrict V = u->velocity + k * u->I;
        const REAL *restrict g = u->gradient + k * u->I;
        REAL largest = 0;
        for (int64_t i = 0; i < u->I; i++) {
            V[i] = u->momentum * V[i] - u->gradient_scale * g[i];
            const REAL size = FABS(V[i]);
            largest = size > largest ? size : largest;
        }
        const REAL step = u->learning_rate / (largest > u->floor ? largest : u->floor);
        for (int64_t i = 0; i < u->I; i++) {
            const REAL moved = xi[i] + step * V[i];
            xi[i] = moved > 1 ? 1 : moved < -1 ? -1 : moved;
        }
    }
}

EXPORT int NAME(denseam_update)(REAL *memories, REAL *velocity, const REAL *gradient, int64_t K,
                                int64_t I, double momentum, double gradient_scale,
                                double learning_rate, double floor, void *parallel, int threads) {
    const NAME(update) u = {.K = K, .I = I, .memories = memories, .velocity = velocity,
                            .gradient = gradient, .momentum = (REAL)momentum,
                            .gradient_scale = (REAL)gradient_scale,
                            .learning_rate = (REAL)learning_rate, .floor = (REAL)floor};
    queue q = {.item = NAME(update_item), .work = &u, .items = (K + ROWS - 1) / ROWS};
    return run(&q, (parallel_fn)parallel, threads);
}

