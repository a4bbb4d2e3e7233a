/* A stand-in, see stabilizer_types.h. */
#ifndef HYPERRL_STAND_IN_FREERTOS_H
#define HYPERRL_STAND_IN_FREERTOS_H

#include <stdint.h>

typedef uint32_t TickType_t;

/* One tick of the firmware is a millisecond. */
#define M2T(milliseconds) ((TickType_t)(milliseconds))

#endif
