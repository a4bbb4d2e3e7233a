/* A stand-in, see stabilizer_types.h. */
#ifndef HYPERRL_STAND_IN_APP_H
#define HYPERRL_STAND_IN_APP_H

void appMain(void);

#endif
