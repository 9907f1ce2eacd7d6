/* One pass over K memories for B states: sums of F and of F' of their fields x = xi . v - offset -
 * drop, and the sum of F' xi, all relative to the largest size of a field, as online softmax does it.
 * Included twice by cpu_loops.h, like cpu_loops_real.h before it.
 *
 * An item is a tile of states and a span of memories. The fields of a few memories with the tile lie
 * in the first cache; no more of (B, K) exists. Spans are joined in their order, so results depend
 * neither on the number of threads nor on the other states. Memories whose weights for a group of
 * states are below `least` add less than rounding, and are left out of their second product.
 */
typedef struct {
    REAL scale[WIDTH];
    double total[WIDTH], slopes[WIDTH]; /* of F over F(scale), and of F' over F'(scale) */
} NAME(gathered);

typedef struct {
    int64_t K, B, N;
    const REAL *rows;       /* (K, N), `stride` apart */
    int64_t stride;
    const REAL *states;     /* (B, N) */
    const REAL *offsets;    /* (K), or NULL */
    const REAL *drops;      /* (B), or NULL */
    const double *parameters;
    term value, slope;
    REAL least;
    int64_t spans, tiles, length; /* length: N in whole vectors */
    NAME(gathered) *parts;  /* (spans, tiles) */
    REAL *pulls;            /* (spans, tiles, WIDTH, length), or NULL */
    REAL *scale;            /* (B), results */
    double *total, *slopes; /* (B) */
    REAL *pull;             /* (B, N), or NULL */
} NAME(gathering);

/* F'(x) / F'(y) of two scales x <= y; 0 where both are 0. */
static double NAME(slope_ratio)(const double *parameters, double x, double y) {
    const double whole = pull_of(parameters, y, y);
    return whole > 0 ? pull_of(parameters, x, y) / whole : 0;
}

/* Bring the sums of a tile to a larger scale. */
INLINE void NAME(rescale)(const NAME(gathering) *g, NAME(gathered) *sums, const REAL *scale,
                          REAL *pull, int64_t width) {
    for (int64_t b = 0; b < width; b++) {
        if (scale[b] == sums->scale[b]) continue;
        const double back = NAME(slope_ratio)(g->parameters, sums->scale[b], scale[b]);
        sums->total[b] *= ratio(g->parameters, sums->scale[b], scale[b]);
        sums->slopes[b] *= back;
        for (int64_t i = 0; pull && i < g->length; i++) pull[b * g->length + i] *= (REAL)back;
    }
}

/* Fields of memories k, k + 1, ... with a tile, zero-padded, and their largest sizes. */
INLINE void NAME(fields)(vec (*fields)[VECTORS], vec *most, const NAME(gathering) *g, int64_t k,
                         int64_t count, int64_t tile, int64_t width) {
    REAL overlaps[MEMORIES * WIDTH];
    vec drops[VECTORS] = {{0}};
    if (g->drops) memcpy(drops, g->drops + tile * WIDTH, (size_t)width * sizeof(REAL));
    NAME(denseam_dots)(g->rows + k * g->stride, g->stride, g->states + tile * WIDTH * g->N, g->N,
                       count, width, g->N, overlaps, NULL, 1);
    if (width < WIDTH) memset(fields, 0, (size_t)count * sizeof *fields);
    for (int64_t i = 0; i < count; i++) {
        const REAL offset = g->offsets ? g->offsets[k + i] : 0;
        memcpy(fields[i], overlaps + i * width, (size_t)width * sizeof(REAL));
        for (int v = 0; v < VECTORS; v++) {
            fields[i][v] -= drops[v] + offset;
            most[v] = NAME(larger)(NAME(sizes)(fields[i][v]), most[v]);
        }
    }
}

/* Add the rows of memories to the pull of each group of states, but for those of no weight. */
INLINE void NAME(add_pull)(const NAME(gathering) *g, REAL *pull, const vec (*weights)[VECTORS],
                           int64_t k, int64_t count, int64_t width) {
    int32_t list[MEMORIES];
    for (int64_t s = 0; s < width; s += GROUP) {
        const REAL *w = (const REAL *)weights + s;
        int64_t length = 0;
        for (int32_t i = 0; i < count; i++) {
            int counts = 0;
            for (int r = 0; r < GROUP; r++) {
                const REAL each = w[i * WIDTH + r];
                counts |= !(each <= g->least && each >= -g->least); /* NaN counts */
            }
            list[length] = i;
            length += counts;
        }
        if (length)
            NAME(denseam_add_rows)(pull + s * g->length, g->length, w, WIDTH,
                                   g->rows + k * g->stride, g->stride, list, length, g->N);
    }
}

INLINE void NAME(gather)(const NAME(gathering) *g, int64_t index, int variant) {
    const int64_t tile = index % g->tiles, span = index / g->tiles;
    const int64_t begin = g->K * span / g->spans, end = g->K * (span + 1) / g->spans;
    const int64_t left = g->B - tile * WIDTH, width = left < WIDTH ? left : WIDTH;
    NAME(gathered) *sums = g->parts + index;
    REAL *pull = g->pulls ? g->pulls + index * WIDTH * g->length : NULL;
    vec fields[MEMORIES][VECTORS], scale[VECTORS], prepared[VECTORS], p[VECTORS];
    memset(sums, 0, sizeof *sums);
    if (pull) memset(pull, 0, (size_t)(WIDTH * g->length) * sizeof(REAL));
    for (int v = 0; v < VECTORS; v++) scale[v] = (vec){0} + FLOOR;
    for (int64_t k = begin; k < end; k += MEMORIES) {
        const int64_t count = end - k < MEMORIES ? end - k : MEMORIES;
        vec value[VECTORS] = {{0}}, slope[VECTORS] = {{0}};
        NAME(fields)(fields, scale, g, k, count, tile, width);
        if (k > begin) NAME(rescale)(g, sums, (const REAL *)scale, pull, width);
        memcpy(sums->scale, scale, sizeof scale);
        NAME(prepare)(prepared, sums->scale);
        for (int64_t i = 0; i < count; i++) {
            NAME(relative)(p, fields[i], prepared, variant, g->value);
            for (int v = 0; v < VECTORS; v++) value[v] += p[v];
            if (!SLOPE_IS_VALUE) NAME(relative)(p, fields[i], prepared, variant, g->slope);
            for (int v = 0; v < VECTORS; v++) slope[v] += p[v];
            memcpy(fields[i], p, sizeof p);
        }
        for (int64_t b = 0; b < WIDTH; b++) {
            sums->total[b] += (double)((const REAL *)value)[b];
            sums->slopes[b] += (double)((const REAL *)slope)[b];
        }
        if (pull) NAME(add_pull)(g, pull, (const vec(*)[VECTORS])fields, k, count, width);
    }
}

WIDEST static void NAME(gather_item)(const void *work, int64_t index, void *scratch) {
    const NAME(gathering) *g = work;
    (void)scratch;
    if (variant_of(g->value)) NAME(gather)(g, index, 1);
    else NAME(gather)(g, index, 0);
}

/* Join the spans of a tile of states. */
static void NAME(join_item)(const void *work, int64_t tile, void *scratch) {
    const NAME(gathering) *g = work;
    (void)scratch;
    for (int64_t b = tile * WIDTH, s = 0; b < g->B && s < WIDTH; b++, s++) {
        REAL scale = FLOOR;
        for (int64_t span = 0; span < g->spans; span++) {
            const REAL each = g->parts[span * g->tiles + tile].scale[s];
            scale = each > scale || each != each ? each : scale;
        }
        g->scale[b] = scale;
        g->total[b] = g->slopes[b] = 0;
        if (g->pull) memset(g->pull + b * g->N, 0, (size_t)g->N * sizeof(REAL));
        for (int64_t span = 0; span < g->spans; span++) {
            const NAME(gathered) *sums = g->parts + span * g->tiles + tile;
            const int same = sums->scale[s] == scale;
            const double back = same ? 1 : NAME(slope_ratio)(g->parameters, sums->scale[s], scale);
            g->total[b] += sums->total[s] * (same ? 1 : ratio(g->parameters, sums->scale[s], scale));
            g->slopes[b] += sums->slopes[s] * back;
            if (!g->pull || back == 0) continue;
            const REAL *from = g->pulls + ((span * g->tiles + tile) * WIDTH + s) * g->length;
            for (int64_t i = 0; i < g->N; i++) g->pull[b * g->N + i] += (REAL)back * from[i];
        }
    }
}

EXPORT int OPERATION(gather)(const REAL *states, const REAL *rows, int64_t stride, int64_t K,
                             int64_t B, int64_t N, const double *parameters, const REAL *offsets,
                             const REAL *drops, double least, REAL *scale, double *total,
                             double *slopes, REAL *pull, void *parallel, int threads) {
    const int64_t tiles = NAME(tiles)(B), length = (N + LANES - 1) / LANES * LANES;
    const int64_t many = (K + SPAN - 1) / SPAN, most = tiles > MOST_SPANS ? 1 : MOST_SPANS;
    const int64_t spans = many < 1 ? 1 : many < most ? many : most;
    const size_t numbers = (size_t)(spans * tiles * WIDTH * length);
    NAME(gathered) *parts = room(sizeof *parts * (size_t)(spans * tiles));
    REAL *pulls = parts && pull ? room(sizeof(REAL) * numbers) : NULL;
    const NAME(gathering) g = {
        .K = K, .B = B, .N = N, .rows = rows, .stride = stride, .states = states,
        .offsets = offsets, .drops = drops, .parameters = parameters,
        .value = value_term(parameters), .slope = slope_term(parameters), .least = (REAL)least,
        .spans = spans, .tiles = tiles, .length = length, .parts = parts, .pulls = pulls,
        .scale = scale, .total = total, .slopes = slopes, .pull = pull};
    int outcome = OUT_OF_MEMORY;
    if (parts && (pulls || !pull)) {
        queue q = {.item = NAME(gather_item), .work = &g, .items = spans * tiles};
        outcome = run(&q, (parallel_fn)parallel, threads);
        queue joins = {.item = NAME(join_item), .work = &g, .items = tiles};
        if (outcome == OK) outcome = run(&joins, (parallel_fn)parallel, threads);
    }
    free(parts);
    free(pulls);
    return outcome;
}
