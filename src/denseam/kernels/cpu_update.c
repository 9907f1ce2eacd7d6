/* The max-norm momentum rule, V <- p V - s g;  xi <- clip(xi + eps V / max|V|, -1, 1), memory by
 * memory; see kernels/interface.py. */
#include <math.h>
#include <stdint.h>

#include "cpu_threads.h"

enum { ROWS = 8 }; /* memories per item */

#define REAL float
#define FABS fabsf
#define NAME(x) x##_f32
#include "cpu_update.h"
#undef REAL
#undef FABS
#undef NAME

#define REAL double
#define FABS fabs
#define NAME(x) x##_f64
#include "cpu_update.h"
