/* A stand-in, see stabilizer_types.h. */
#ifndef HYPERRL_STAND_IN_PLATFORM_DEFAULTS_H
#define HYPERRL_STAND_IN_PLATFORM_DEFAULTS_H

/* Of the Crazyflie 2.1: thrust of a motor at full command, N. */
#ifndef THRUST_MAX
#define THRUST_MAX 0.1125f
#endif

#endif
