/* hyperrl_controller.c: a policy as an out-of-tree controller of the Crazyflie's firmware.
 *
 * Written by hyperrl; MIT licence. See CRAZYFLIE.md. It has not been flown on a robot.
 *
 * The PID controller flies until the parameter hyperrl.enable is 1. Then the policy acts every
 * POLICY_CONTROL_PERIOD_US, its thrusts are held in between, and a watchdog looks at every call of the
 * stabiliser's loop. What it finds is final until hyperrl.enable has been 0. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "FreeRTOS.h"
#include "task.h"

#define DEBUG_MODULE "HYPERRL"
#include "app.h"
#include "controller.h"
#include "controller_pid.h"
#include "debug.h"
#include "log.h"
#include "param.h"
#include "platform_defaults.h"

#include "hyperrl_controller.h"

#ifndef THRUST_MAX
#error "the firmware's platform_defaults.h has no THRUST_MAX, the thrust in N of a motor at full command"
#endif

_Static_assert(POLICY_OBSERVATIONS == 18 && POLICY_ACTIONS == 4, "this controller is for policies of a quadrotor");
_Static_assert(HYPERRL_DIVIDER >= 1 && HYPERRL_DIVIDER * 1000000L == POLICY_CONTROL_PERIOD_US * RATE_MAIN_LOOP,
               "the policy's control period is no multiple of the stabiliser's");

#define RADIANS_PER_DEGREE 0.017453292519943295f
#define LEAST_QUATERNION 0.81f /* Squares of lengths: 10 % off. */
#define LARGEST_QUATERNION 1.21f

typedef enum { untested, passed, failed } selfTest_t;

static volatile selfTest_t selfTest = untested;
static uint8_t enable = 0;
static uint8_t mode = hyperrlPid;
static uint8_t reason = hyperrlNone;
static bool isActing = false; /* Whether the policy had the motors in the last call. */
static stabilizerStep_t lastAction;
static float forces[STABILIZER_NR_OF_MOTORS];

static float limited(float x, float most)
{
    if (x > most) {
        return most;
    }
    return x < -most ? -most : x; /* NaN stays NaN. */
}

/* The firmware's quaternion turns the body's frame (x forward, y left, z up) into the world's. */
static void rotationOf(const quaternion_t *q, float rotation[9])
{
    rotation[0] = 1.0f - 2.0f * (q->y * q->y + q->z * q->z);
    rotation[1] = 2.0f * (q->x * q->y - q->w * q->z);
    rotation[2] = 2.0f * (q->x * q->z + q->w * q->y);
    rotation[3] = 2.0f * (q->x * q->y + q->w * q->z);
    rotation[4] = 1.0f - 2.0f * (q->x * q->x + q->z * q->z);
    rotation[5] = 2.0f * (q->y * q->z - q->w * q->x);
    rotation[6] = 2.0f * (q->x * q->z - q->w * q->y);
    rotation[7] = 2.0f * (q->y * q->z + q->w * q->x);
    rotation[8] = 1.0f - 2.0f * (q->x * q->x + q->y * q->y);
}

/* The heading to fly with: the setpoint's, or the nearest to it that the policy may be asked for now. */
static float headingFor(const setpoint_t *setpoint, const float rotation[9])
{
    float heading = setpoint->attitude.yaw * RADIANS_PER_DEGREE;
    if (setpoint->mode.yaw != modeAbs) {
        float wanted[9];
        rotationOf(&setpoint->attitudeQuaternion, wanted);
        heading = atan2f(wanted[3], wanted[0]);
    }
    const float own = atan2f(rotation[3], rotation[0]);
    const float error = atan2f(sinf(own - heading), cosf(own - heading));
    const float shown = limited(error, HYPERRL_HEADING_CLIP);
    return shown == error ? heading : own - shown;
}

/* In training the heading to keep was zero. Nothing changes when the world is turned about the vertical, so
 * another heading is flown in a world that is turned by it. */
void hyperrlObserve(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
                    float observation[POLICY_OBSERVATIONS])
{
    float rotation[9];
    rotationOf(&state->attitudeQuaternion, rotation);
    const float heading = headingFor(setpoint, rotation);
    const float cosine = cosf(heading), sine = sinf(heading);
    const float columns[5][3] = {
        {state->position.x - setpoint->position.x, state->position.y - setpoint->position.y,
         state->position.z - setpoint->position.z},
        {state->velocity.x - setpoint->velocity.x, state->velocity.y - setpoint->velocity.y,
         state->velocity.z - setpoint->velocity.z},
        {rotation[0], rotation[3], rotation[6]},
        {rotation[1], rotation[4], rotation[7]},
        {rotation[2], rotation[5], rotation[8]},
    };
    float turned[5][3];
    for (int i = 0; i < 5; ++i) {
        turned[i][0] = cosine * columns[i][0] + sine * columns[i][1];
        turned[i][1] = cosine * columns[i][1] - sine * columns[i][0];
        turned[i][2] = columns[i][2];
    }
    for (int axis = 0; axis < 3; ++axis) {
        observation[axis] = limited(turned[0][axis], HYPERRL_POSITION_CLIP);
        observation[3 + axis] = limited(turned[1][axis], HYPERRL_VELOCITY_CLIP);
        observation[6 + 3 * axis] = turned[2][axis];
        observation[7 + 3 * axis] = turned[3][axis];
        observation[8 + 3 * axis] = turned[4][axis];
    }
    observation[15] = sensors->gyro.x * RADIANS_PER_DEGREE;
    observation[16] = sensors->gyro.y * RADIANS_PER_DEGREE;
    observation[17] = sensors->gyro.z * RADIANS_PER_DEGREE;
}

static bool isForPolicy(const setpoint_t *setpoint)
{
    const bool hasHeading = setpoint->mode.yaw == modeAbs || setpoint->mode.quat == modeAbs;
    const bool hasPosition =
        setpoint->mode.x == modeAbs && setpoint->mode.y == modeAbs && setpoint->mode.z == modeAbs;
    return hasHeading && hasPosition && !setpoint->velocity_body;
}

static bool stopsMotors(const setpoint_t *setpoint)
{
    return setpoint->mode.x == modeDisable && setpoint->mode.y == modeDisable &&
           setpoint->mode.z == modeDisable && setpoint->thrust == 0.0f;
}

/* What an episode would have ended with in training. */
static hyperrlReason_t limitOf(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state)
{
    const float place[3] = {state->position.x - setpoint->position.x,
                            state->position.y - setpoint->position.y,
                            state->position.z - setpoint->position.z};
    const float speed[3] = {state->velocity.x - setpoint->velocity.x,
                            state->velocity.y - setpoint->velocity.y,
                            state->velocity.z - setpoint->velocity.z};
    const float rate[3] = {sensors->gyro.x * RADIANS_PER_DEGREE, sensors->gyro.y * RADIANS_PER_DEGREE,
                           sensors->gyro.z * RADIANS_PER_DEGREE};
    float speedSquare = 0.0f, rateSquare = 0.0f, rotation[9];
    for (int axis = 0; axis < 3; ++axis) {
        if (fabsf(place[axis]) > HYPERRL_POSITION_LIMIT) {
            return hyperrlFar;
        }
        speedSquare += speed[axis] * speed[axis];
        rateSquare += rate[axis] * rate[axis];
    }
    if (speedSquare > HYPERRL_SPEED_LIMIT * HYPERRL_SPEED_LIMIT) {
        return hyperrlFast;
    }
    if (rateSquare > HYPERRL_RATE_LIMIT * HYPERRL_RATE_LIMIT) {
        return hyperrlSpinning;
    }
    rotationOf(&state->attitudeQuaternion, rotation);
    return rotation[8] < 0.0f ? hyperrlTilted : hyperrlNone;
}

static bool isWhole(const quaternion_t *q)
{
    const float square = q->x * q->x + q->y * q->y + q->z * q->z + q->w * q->w;
    return square > LEAST_QUATERNION && square < LARGEST_QUATERNION;
}

static void become(hyperrlMode_t next, hyperrlReason_t why)
{
    mode = (uint8_t)next;
    reason = (uint8_t)why;
}

/* Decide who controls. The observation is written where it is the policy. */
static void watch(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
                  float observation[POLICY_OBSERVATIONS])
{
    const uint32_t age = xTaskGetTickCount() - setpoint->timestamp;
    hyperrlReason_t limit;
    if (!enable) {
        become(hyperrlPid, hyperrlNone);
        return;
    }
    if (selfTest != passed) {
        become(hyperrlPid, hyperrlSelfTestFailed);
        return;
    }
    if (mode == hyperrlStopped) {
        return;
    }
    if (mode == hyperrlTripped) {
        if (age > M2T(HYPERRL_SETPOINT_DEAD_MS)) {
            become(hyperrlStopped, hyperrlStaleSetpoint);
        }
        return;
    }
    if (stopsMotors(setpoint)) {
        become(hyperrlTripped, hyperrlNoSetpoint);
        return;
    }
    if (age > M2T(HYPERRL_SETPOINT_STALE_MS)) {
        become(hyperrlTripped, hyperrlStaleSetpoint);
        return;
    }
    if (!isForPolicy(setpoint)) {
        become(hyperrlPid, hyperrlOtherSetpoint);
        return;
    }
    hyperrlObserve(setpoint, sensors, state, observation);
    if (!policy_observation_is_finite(observation) || !isWhole(&state->attitudeQuaternion)) {
        become(hyperrlStopped, hyperrlBrokenState);
        return;
    }
    limit = limitOf(setpoint, sensors, state);
    become(limit == hyperrlNone ? hyperrlPolicy : hyperrlTripped, limit);
}

/* Thrusts in N of M1 front right, M2 back right, M3 back left, M4 front left, as shares of the platform's. */
static void act(const float observation[POLICY_OBSERVATIONS])
{
    float action[POLICY_ACTIONS];
    policy_act(observation, action);
    for (int motor = 0; motor < STABILIZER_NR_OF_MOTORS; ++motor) {
        if (!(action[motor] >= -1.0f && action[motor] <= 1.0f)) {
            become(hyperrlTripped, hyperrlBadAction);
            return;
        }
    }
    for (int motor = 0; motor < STABILIZER_NR_OF_MOTORS; ++motor) {
        const float share = 0.5f * (action[motor] + 1.0f) * (HYPERRL_MOTOR_THRUST / THRUST_MAX);
        forces[motor] = share > 1.0f ? 1.0f : share;
    }
}

/* What the PID controller integrated when it last flew is of no use now. It forgets it when it is given a
 * setpoint without thrust in a step in which all its parts run. */
static void resetPid(const sensorData_t *sensors, const state_t *state)
{
    setpoint_t none;
    control_t ignored;
    memset(&none, 0, sizeof none);
    memset(&ignored, 0, sizeof ignored);
    controllerPid(&ignored, &none, sensors, state, 0);
}

void controllerOutOfTree(control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors,
                         const state_t *state, const stabilizerStep_t stabilizerStep)
{
    float observation[POLICY_OBSERVATIONS];
    watch(setpoint, sensors, state, observation);
    if (mode == hyperrlPolicy && (!isActing || stabilizerStep - lastAction >= (uint32_t)HYPERRL_DIVIDER)) {
        act(observation);
        lastAction = stabilizerStep;
    }
    if (mode == hyperrlPid || mode == hyperrlTripped) {
        if (isActing) {
            resetPid(sensors, state);
        }
        controllerPid(control, setpoint, sensors, state, stabilizerStep);
    } else {
        control->controlMode = controlModeForce;
        for (int motor = 0; motor < STABILIZER_NR_OF_MOTORS; ++motor) {
            control->normalizedForces[motor] = mode == hyperrlPolicy ? forces[motor] : 0.0f;
        }
    }
    isActing = mode == hyperrlPolicy;
}

static void runSelfTest(void)
{
    selfTest = policy_self_test(0) == 0 ? passed : failed;
}

void controllerOutOfTreeInit(void)
{
    controllerPidInit();
    become(hyperrlPid, hyperrlNone);
    isActing = false;
}

bool controllerOutOfTreeTest(void)
{
    runSelfTest();
    return controllerPidTest() && selfTest == passed;
}

/* The firmware tests only the controller that it starts with. The policy acts in no case before its test, so
 * the two never use its buffers at once. */
void appMain(void)
{
    if (selfTest == untested) {
        runSelfTest();
    }
    DEBUG_PRINT("policy %s\n", selfTest == passed ? "passed its self-test" : "FAILED its self-test");
    while (1) {
        vTaskDelay(M2T(1000));
    }
}

hyperrlMode_t hyperrlGetMode(void)
{
    return (hyperrlMode_t)mode;
}

hyperrlReason_t hyperrlGetReason(void)
{
    return (hyperrlReason_t)reason;
}

PARAM_GROUP_START(hyperrl)
PARAM_ADD(PARAM_UINT8, enable, &enable)
PARAM_GROUP_STOP(hyperrl)

LOG_GROUP_START(hyperrl)
LOG_ADD(LOG_UINT8, mode, &mode)
LOG_ADD(LOG_UINT8, reason, &reason)
LOG_GROUP_STOP(hyperrl)
