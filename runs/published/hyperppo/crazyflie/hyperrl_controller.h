/* hyperrl_controller.h: a policy as an out-of-tree controller of the Crazyflie's firmware.
 *
 * Written by hyperrl; MIT licence. See CRAZYFLIE.md. It has not been flown on a robot.
 */
#ifndef HYPERRL_CONTROLLER_H
#define HYPERRL_CONTROLLER_H

#include "stabilizer_types.h"
#include "policy.h"

/* Thrust of one motor at the action 1, in N; the action -1 is none. */
#define HYPERRL_MOTOR_THRUST 1.125e-01f

/* The policy is shown errors of at most this size: farther setpoints are flown to as if they were so near. */
#define HYPERRL_POSITION_CLIP 6.0e-01f /* along each axis, m */
#define HYPERRL_VELOCITY_CLIP 2.5e+00f /* along each axis, m/s */
#define HYPERRL_HEADING_CLIP 8.0e-01f /* rad */

/* Beyond these episodes ended in training: here the PID controller takes over. */
#define HYPERRL_POSITION_LIMIT 1.5e+00f /* along an axis, m */
#define HYPERRL_SPEED_LIMIT 5.0e+00f /* relative to the setpoint, m/s */
#define HYPERRL_RATE_LIMIT 3.49e+01f /* rad/s */

/* Ages of a setpoint in ms at which the PID controller takes over, and at which the motors stop: those at
 * which the firmware's own supervisor levels out and stops. */
#define HYPERRL_SETPOINT_STALE_MS 500
#define HYPERRL_SETPOINT_DEAD_MS 2000

/* Calls of the stabiliser's loop for one action. */
#define HYPERRL_DIVIDER (POLICY_CONTROL_PERIOD_US * RATE_MAIN_LOOP / 1000000L)

/* Who controls: the log variable hyperrl.mode. */
typedef enum {
    hyperrlPid = 0,     /* the PID controller: hyperrl.enable is 0, or there is no setpoint for the policy */
    hyperrlPolicy = 1,  /* the policy */
    hyperrlTripped = 2, /* the PID controller, until hyperrl.enable has been 0 */
    hyperrlStopped = 3, /* nobody: the motors are off until hyperrl.enable has been 0 */
} hyperrlMode_t;

/* Why it is not the policy: the log variable hyperrl.reason. */
typedef enum {
    hyperrlNone = 0,
    hyperrlSelfTestFailed = 1, /* this processor does not compute what the policy does; or not tested yet */
    hyperrlOtherSetpoint = 2,  /* no position with a heading; the policy comes back with the next one */
    hyperrlNoSetpoint = 3,     /* the one that stops the motors */
    hyperrlStaleSetpoint = 4,
    hyperrlBrokenState = 5, /* a number is NaN or infinite, or the quaternion is far from length one */
    hyperrlFar = 6,
    hyperrlFast = 7,
    hyperrlTilted = 8, /* by more than 90 degrees */
    hyperrlSpinning = 9,
    hyperrlBadAction = 10, /* not finite */
} hyperrlReason_t;

/* Write what the policy is shown. The setpoint must have a position and a heading. */
void hyperrlObserve(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
                    float observation[POLICY_OBSERVATIONS]);

hyperrlMode_t hyperrlGetMode(void);
hyperrlReason_t hyperrlGetReason(void);

#endif
