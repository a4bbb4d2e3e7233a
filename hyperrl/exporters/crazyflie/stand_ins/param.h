/* A stand-in, see stabilizer_types.h: a parameter is a pointer that the host finds by its name. */
#ifndef HYPERRL_STAND_IN_PARAM_H
#define HYPERRL_STAND_IN_PARAM_H

#define PARAM_GROUP_START(group)
#define PARAM_ADD(type, name, address) void *const host_param_##name = address;
#define PARAM_GROUP_STOP(group)

#endif
