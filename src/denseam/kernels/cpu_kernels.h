/* Included twice by cpu_kernels.c, with REAL = float and REAL = double.
 *
 *   shift[k, c] = 2 class[k, c] - sum_c' class[k, c']   for c < C,
 *   shift[k, C] =               - sum_c' class[k, c'],
 *   on[c, k, b] = overlap[k, b] + shift[k, c];   off is on for c = C   (paper, Eq. 2.1)
 */
#define LANES ((int64_t)(64 / sizeof(REAL))) /* of one 512-bit vector */
#define WIDTH (VECTORS * LANES)              /* images per tile */
#define vec NAME(vec)
#define loose_vec NAME(loose_vec)
#define bits NAME(bits)
#define task NAME(task)

typedef REAL vec __attribute__((vector_size(64)));
typedef REAL loose_vec __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef BITS bits __attribute__((vector_size(64)));

typedef struct {
    int64_t K, B, C;
    const REAL *overlaps;      /* (K, B) */
    REAL *weights;             /* (K, B); may be the overlaps themselves */
    const REAL *shifts;        /* (K, C + 1) */
    double power;
    int every_class;           /* rescale classes whose sums underflow on the row's scale */
    REAL *scale;               /* (tiles, C + 1, WIDTH): what on was divided by */
    REAL *sums;                /* (tiles, C + 1, WIDTH) */
    const REAL *coefficients;  /* (tiles, C + 1, WIDTH) */
    REAL *class_gradient;      /* (K, C), or NULL where it is not wanted */
} task;

/* Twice the positive part: exact, and no comparison in the way of the products. */
INLINE vec NAME(twice_relu)(vec x) { return x + (vec)((bits)x & (((BITS)-1) >> 1)); }

/* out = x^power for x >= 0; whole powers by repeated squaring from the top bit down, so that
 * nothing on the way exceeds the larger of x and the result. x^0 is 1 only where x > 0: F_1 has
 * no slope at zero. `whole` is a constant wherever this is inlined. */
INLINE void NAME(power)(vec *out, const vec *x, int whole, double power) {
    const int n = (int)power;
    if (!whole) {
        for (int v = 0; v < VECTORS; v++)
            for (int l = 0; l < LANES; l++)
                out[v][l] = x[v][l] > 0 ? POW(x[v][l], (REAL)power) : 0;
    } else if (n == 0) {
        for (int v = 0; v < VECTORS; v++)
            out[v] = (vec)((bits)(x[v] > 0) & (bits)((vec){0} + 1));
    } else {
        for (int v = 0; v < VECTORS; v++) out[v] = x[v];
        for (int bit = (1 << (31 - __builtin_clz((unsigned)n))) >> 1; bit; bit >>= 1) {
            for (int v = 0; v < VECTORS; v++) out[v] *= out[v];
            if (n & bit)
                for (int v = 0; v < VECTORS; v++) out[v] *= x[v];
        }
    }
}

INLINE int64_t NAME(width)(const task *t, int64_t tile) {
    const int64_t left = t->B - tile * WIDTH;
    return left < WIDTH ? left : WIDTH;
}

/* One memory's overlaps with a tile of images, zero-padded. */
INLINE void NAME(load)(vec *out, const task *t, int64_t k, int64_t tile, int64_t width) {
    const REAL *row = t->overlaps + k * t->B + tile * WIDTH;
    if (width == WIDTH) {
        for (int v = 0; v < VECTORS; v++) out[v] = *(const loose_vec *)(row + v * LANES);
    } else {
        memset(out, 0, sizeof(vec) * VECTORS);
        memcpy(out, row, (size_t)width * sizeof(REAL));
    }
}

INLINE vec NAME(larger)(vec a, vec b) {
    const bits first = (bits)(a > b);
    return (vec)(((bits)a & first) | ((bits)b & ~first));
}

/* The largest `on` of every image over all memories and the classes [from, to); 0 if none is
 * positive. */
INLINE void NAME(largest)(REAL *best, const task *t, int64_t tile, int64_t from, int64_t to) {
    vec most[VECTORS] = {{0}}, overlap[VECTORS];
    for (int64_t k = 0; k < t->K; k++) {
        const REAL *shifts = t->shifts + k * (t->C + 1);
        REAL shift = shifts[from];
        for (int64_t c = from + 1; c < to; c++) shift = shifts[c] > shift ? shifts[c] : shift;
        NAME(load)(overlap, t, k, tile, NAME(width)(t, tile));
        for (int v = 0; v < VECTORS; v++) most[v] = NAME(larger)(overlap[v] + shift, most[v]);
    }
    memcpy(best, most, sizeof most);
}

/* Add relu(on / scale)^n of one class over a chunk of memories. Chunks are summed apart, so that
 * rounding grows with CHUNK + K / CHUNK and not with K. */
INLINE void NAME(add_chunk)(REAL *sums, const vec (*overlaps)[VECTORS], const REAL *shifts,
                            int64_t stride, int64_t count, const vec *half_inverse, int whole,
                            double power) {
    vec part[VECTORS] = {{0}}, x[VECTORS], p[VECTORS];
    for (int64_t k = 0; k < count; k++) {
        for (int v = 0; v < VECTORS; v++)
            x[v] = NAME(twice_relu)((overlaps[k][v] + shifts[k * stride]) * half_inverse[v]);
        NAME(power)(p, x, whole, power);
        for (int v = 0; v < VECTORS; v++) part[v] += p[v];
    }
    for (int v = 0; v < VECTORS; v++) *(loose_vec *)(sums + v * LANES) += part[v];
}

INLINE void NAME(half_inverse)(vec *out, const REAL *scale) {
    REAL inverse[WIDTH];
    for (int64_t b = 0; b < WIDTH; b++) inverse[b] = scale[b] > 0 ? (REAL)0.5 / scale[b] : 0;
    memcpy(out, inverse, sizeof inverse);
}

/* The sums of the classes [from, to) over all memories, on the scale given. */
INLINE void NAME(sum_classes)(const task *t, int64_t tile, int64_t from, int64_t to,
                              const REAL *scale, int whole) {
    vec overlaps[CHUNK][VECTORS], half[VECTORS];
    const int64_t width = NAME(width)(t, tile), rows = t->C + 1;
    REAL *sums = t->sums + tile * rows * WIDTH;
    NAME(half_inverse)(half, scale);
    memset(sums + from * WIDTH, 0, (size_t)((to - from) * WIDTH) * sizeof(REAL));
    for (int64_t c = from; c < to; c++)
        memcpy(t->scale + (tile * rows + c) * WIDTH, scale, sizeof(REAL) * WIDTH);
    for (int64_t k = 0; k < t->K; k += CHUNK) {
        const int64_t count = t->K - k < CHUNK ? t->K - k : CHUNK;
        for (int64_t i = 0; i < count; i++) NAME(load)(overlaps[i], t, k + i, tile, width);
        for (int64_t c = from; c < to; c++)
            NAME(add_chunk)(sums + c * WIDTH, overlaps, t->shifts + k * rows + c, rows, count,
                            half, whole, t->power);
    }
}

INLINE void NAME(sums)(const task *t, int64_t tile, int whole) {
    const int64_t rows = t->C + 1;
    REAL scale[WIDTH];
    NAME(largest)(scale, t, tile, 0, rows);
    NAME(sum_classes)(t, tile, 0, rows, scale, whole);
    if (!t->every_class) return;
    for (int64_t c = 0; c < t->C; c++) {
        const REAL *sums = t->sums + (tile * rows + c) * WIDTH;
        int lost = 0;
        for (int64_t b = 0; b < NAME(width)(t, tile); b++)
            lost |= scale[b] > 0 && sums[b] < TOO_SMALL;
        if (lost) {
            REAL own[WIDTH];
            NAME(largest)(own, t, tile, c, c + 1);
            NAME(sum_classes)(t, tile, c, c + 1, own, whole);
        }
    }
}

/* weight[k, b] = sum_c coefficient[c, b] relu(on / scale)^n, and the classes' own share. */
INLINE void NAME(weights)(const task *t, int64_t index, vec *share, int whole) {
    const int64_t rows = t->C + 1, tiles = (t->B + WIDTH - 1) / WIDTH;
    const int64_t k0 = index * ROWS, count = t->K - k0 < ROWS ? t->K - k0 : ROWS;
    memset(share, 0, sizeof(vec) * (size_t)(ROWS * rows)); /* (ROWS, C + 1), lanes apart */
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t width = NAME(width)(t, tile);
        const loose_vec *coefficients = (const loose_vec *)(t->coefficients + tile * rows * WIDTH);
        const loose_vec *half = (const loose_vec *)(t->scale + tile * rows * WIDTH);
        for (int64_t i = 0; i < count; i++) {
            vec overlap[VECTORS], weight[VECTORS] = {{0}}, x[VECTORS], p[VECTORS];
            NAME(load)(overlap, t, k0 + i, tile, width);
            for (int64_t c = 0; c < rows; c++) {
                const REAL shift = t->shifts[(k0 + i) * rows + c];
                for (int v = 0; v < VECTORS; v++)
                    x[v] = NAME(twice_relu)((overlap[v] + shift) * half[c * VECTORS + v]);
                NAME(power)(p, x, whole, t->power);
                for (int v = 0; v < VECTORS; v++) {
                    p[v] *= coefficients[c * VECTORS + v];
                    weight[v] += p[v];
                }
                share[i * rows + c] += (p[0] + p[1]) + (p[2] + p[3]);
            }
            memcpy(t->weights + (k0 + i) * t->B + tile * WIDTH, weight,
                   (size_t)width * sizeof(REAL));
        }
    }
    if (!t->class_gradient) return;
    for (int64_t i = 0; i < count; i++) {
        REAL total = 0;
        for (int64_t c = 0; c < rows; c++) {
            REAL sum = 0;
            for (int l = 0; l < LANES; l++) sum += share[i * rows + c][l];
            total += sum;
            if (c < t->C) t->class_gradient[(k0 + i) * t->C + c] = 2 * sum;
        }
        for (int64_t c = 0; c < t->C; c++) t->class_gradient[(k0 + i) * t->C + c] -= total;
    }
}

/* Powers that are whole numbers below 2^30 are multiplied out, all others go through pow(). */
INLINE int NAME(whole)(double power) {
    return power >= 0 && power < (1 << 30) && power == floor(power);
}

WIDEST static void NAME(sums_item)(const void *work, int64_t index, void *scratch) {
    const task *t = work;
    (void)scratch;
    if (NAME(whole)(t->power)) NAME(sums)(t, index, 1);
    else NAME(sums)(t, index, 0);
}

WIDEST static void NAME(weights_item)(const void *work, int64_t index, void *scratch) {
    const task *t = work;
    if (NAME(whole)(t->power)) NAME(weights)(t, index, scratch, 1);
    else NAME(weights)(t, index, scratch, 0);
}

typedef struct {
    int64_t K, I;
    REAL *memories, *velocity;  /* (K, I) */
    const REAL *gradient;       /* (K, I) */
    REAL momentum, gradient_scale, learning_rate, floor;
} NAME(update);

/* V <- p V - s g;  xi <- clip(xi + eps V / max|V|, -1, 1), memory by memory. */
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

/* ---- what kernels/cpu.py calls ------------------------------------------- */

EXPORT int64_t NAME(denseam_tile)(void) { return WIDTH; }

EXPORT int NAME(denseam_sums)(const REAL *overlaps, const REAL *shifts, int64_t K, int64_t B, int64_t C,
                              double power, int64_t every_class, REAL *scale, REAL *sums,
                              void *parallel, int threads) {
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .shifts = shifts,
                    .power = power, .every_class = every_class != 0,
                    .scale = scale, .sums = sums};
    queue q = {.item = NAME(sums_item), .work = &t, .items = (B + WIDTH - 1) / WIDTH};
    return run(&q, (parallel_fn)parallel, threads);
}

/* `half_inverse` is 0.5 / scale, and 0 where scale is 0. */
EXPORT int NAME(denseam_weights)(const REAL *overlaps, const REAL *shifts, int64_t K, int64_t B,
                                 int64_t C, double power, REAL *half_inverse,
                                 const REAL *coefficients, REAL *weights, REAL *class_gradient,
                                 void *parallel, int threads) {
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .shifts = shifts,
                    .power = power, .scale = half_inverse, .coefficients = coefficients,
                    .weights = weights, .class_gradient = class_gradient};
    queue q = {.item = NAME(weights_item), .work = &t, .items = (K + ROWS - 1) / ROWS,
               .scratch = sizeof(vec) * (size_t)(ROWS * (C + 1))};
    return run(&q, (parallel_fn)parallel, threads);
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

#undef LANES
#undef WIDTH
#undef vec
#undef loose_vec
#undef bits
#undef task
