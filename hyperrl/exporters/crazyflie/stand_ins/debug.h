/* A stand-in, see stabilizer_types.h: what is printed goes nowhere. */
#ifndef HYPERRL_STAND_IN_DEBUG_H
#define HYPERRL_STAND_IN_DEBUG_H

#include <stdio.h>

#define DEBUG_PRINT(...) ((void)snprintf(0, 0, DEBUG_MODULE ": " __VA_ARGS__))

#endif
