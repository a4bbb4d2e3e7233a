/* A stand-in, see stabilizer_types.h. */
#ifndef HYPERRL_STAND_IN_CONTROLLER_H
#define HYPERRL_STAND_IN_CONTROLLER_H

#include "stabilizer_types.h"

void controllerOutOfTreeInit(void);
bool controllerOutOfTreeTest(void);
void controllerOutOfTree(control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors,
                         const state_t *state, const stabilizerStep_t stabilizerStep);

#endif
