/* A stand-in, see stabilizer_types.h: a log variable is a pointer that the host finds by its name. */
#ifndef HYPERRL_STAND_IN_LOG_H
#define HYPERRL_STAND_IN_LOG_H

#define LOG_GROUP_START(group)
#define LOG_ADD(type, name, address) const void *const host_log_##name = address;
#define LOG_GROUP_STOP(group)

#endif
